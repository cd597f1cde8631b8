"""What of a model one rank holds: the sizes that its kernels are called with, by role."""

from __future__ import annotations

import dataclasses

# Multiples to which quantized experts are padded, by what the kernel needs (sglang 0.5.21,
# srt/layers/quantization).
PADDINGS = (64, 128, 256)


@dataclasses.dataclass(frozen=True)
class Attention:
    """Grouped-query attention of some layers. `window` is config.json's, in tokens."""

    qo_heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int
    window: int | None = None


@dataclasses.dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention: `ckv` and `kpe` are what the cache holds of a token."""

    heads: int
    q_lora_rank: int | None
    ckv: int
    kpe: int
    nope: int
    vo: int

    @property
    def qk(self) -> int:
        """Return the head dim of the unabsorbed form's queries and keys."""
        return self.nope + self.kpe


@dataclasses.dataclass(frozen=True)
class Indexer:
    """The sparse indexer of DeepSeek-V3.2 and its successors; its heads are not divided."""

    heads: int
    head_dim: int
    top_k: int


@dataclasses.dataclass(frozen=True)
class Experts:
    """Routed experts. `shared` are those that may be fused with the routed ones (SGLang's choice);
    `redundant` are copies for load balancing. `groups` are None where routing has none.
    """

    experts: int
    local_experts: int
    top_k: int | None
    groups: int | None
    topk_groups: int | None
    hidden: int
    intermediate: int | None
    shared: int
    redundant: int
    quantized: bool


@dataclasses.dataclass(frozen=True)
class LinearAttention:
    """Gated delta net, or Kimi delta attention."""

    k_heads: int
    v_heads: int
    k_dim: int
    v_dim: int


@dataclasses.dataclass(frozen=True)
class Mamba:
    """Mamba-2 mixer."""

    heads: int
    head_dim: int
    state: int
    groups: int


@dataclasses.dataclass(frozen=True)
class RankSizes:
    """The sizes of one rank. `intermediate` are the widths of dense MLPs and shared experts."""

    attn_tp: int
    dense_tp: int
    moe_tp: int
    moe_ep: int
    hidden: int | None
    vocab: int | None
    vocab_per_rank: int | None
    intermediate: tuple[int, ...]
    attention: tuple[Attention, ...]
    latent: LatentAttention | None
    indexer: Indexer | None
    experts: Experts | None
    linear: LinearAttention | None
    mamba: Mamba | None

    def roles(self) -> dict[str, frozenset[int]]:
        """Return every size that each role may have on this rank; a role the model lacks is absent.

        A model has several sizes in one role where its layers differ (sliding and full attention),
        or where SGLang may choose (fused shared experts, padded quantized experts).
        """
        found: dict[str, set[int | None]] = {
            "hidden": {self.hidden},
            "vocab": {self.vocab},
            "intermediate": set(self.intermediate),
            "norm": self._norms(),
            **self._attention_roles(),
            **self._expert_roles(),
            **self._state_roles(),
        }
        sizes = {role: frozenset(n for n in found[role] if n) for role in found}
        return {role: values for role, values in sizes.items() if values}

    def _attention_roles(self) -> dict[str, set[int | None]]:
        kinds, latent, indexer = self.attention, self.latent, self.indexer
        roles: dict[str, set[int | None]] = {
            "qo_heads": {kind.qo_heads for kind in kinds},
            "kv_heads": {kind.kv_heads for kind in kinds},
            "head_dim": {kind.head_dim for kind in kinds},
            "qk_dim": {kind.head_dim for kind in kinds},
            "rotated": {kind.head_dim for kind in kinds},
            "vo_dim": {kind.v_head_dim for kind in kinds},
        }
        if latent:  # absorbed it is multi-query attention over the latent, unabsorbed multi-head
            roles["qo_heads"].add(latent.heads)
            roles["kv_heads"] |= {latent.heads, 1}
            roles["head_dim"] |= {latent.qk, latent.vo, latent.ckv, latent.ckv + latent.kpe}
            roles["qk_dim"] |= {latent.qk, latent.ckv + latent.kpe}
            roles["rotated"] |= {latent.qk, latent.kpe}  # the whole head, or the part that turns
            roles["vo_dim"] |= {latent.vo, latent.ckv}
            roles |= {"ckv": {latent.ckv}, "kpe": {latent.kpe}, "nope": {latent.nope}}
        if indexer:
            roles |= {"index_heads": {indexer.heads}, "index_dim": {indexer.head_dim}}
            roles["index_top_k"] = {indexer.top_k}
            roles["rotated"].add(indexer.head_dim)
        return roles

    def _expert_roles(self) -> dict[str, set[int | None]]:
        moe = self.experts
        if moe is None:
            return {}
        fused = {0, moe.shared}
        return {
            "experts": {moe.experts, *(moe.experts + moe.redundant + extra for extra in fused)},
            "local_experts": {moe.local_experts + extra for extra in fused},
            "top_k": {moe.top_k + extra for extra in fused} if moe.top_k else set(),
            "groups": {moe.groups},
            "topk_groups": {moe.topk_groups},
            "moe_hidden": padded(moe.hidden, moe.quantized),
            "moe_intermediate": padded(moe.intermediate, moe.quantized),
        }

    def _state_roles(self) -> dict[str, set[int | None]]:
        roles: dict[str, set[int | None]] = {}
        if self.linear:
            roles |= {"gdn_k_heads": {self.linear.k_heads}, "gdn_v_heads": {self.linear.v_heads}}
            roles |= {"gdn_k_dim": {self.linear.k_dim}, "gdn_v_dim": {self.linear.v_dim}}
        if self.mamba:
            roles |= {"mamba_heads": {self.mamba.heads}, "mamba_dim": {self.mamba.head_dim}}
            roles |= {"mamba_state": {self.mamba.state}, "mamba_groups": {self.mamba.groups}}
        return roles

    def _norms(self) -> set[int | None]:
        """The rows that models normalise: tokens, latents, heads, or all heads of a rank."""
        norms = {self.hidden}
        for kind in self.attention:
            norms |= {kind.head_dim, kind.v_head_dim}
            norms |= {kind.qo_heads * kind.head_dim, kind.kv_heads * kind.head_dim}
        if self.latent:
            norms |= {self.latent.q_lora_rank, self.latent.ckv}
        if self.indexer:
            norms.add(self.indexer.head_dim)
        if self.experts:
            norms.add(self.experts.hidden)
        if self.linear:
            norms.add(self.linear.v_dim)
        if self.mamba:
            norms.add(self.mamba.heads * self.mamba.head_dim // self.mamba.groups)
        return norms


def round_up(size: int, multiple: int) -> int:
    """Return the least multiple that is not smaller.

    >>> round_up(2880, 256)
    3072
    """
    return -(-size // multiple) * multiple


def padded(size: int | None, quantized: bool) -> set[int | None]:
    """Return a size of experts and, where they are quantized, what it may be padded to."""
    sizes: set[int | None] = {size}
    if size is not None and quantized:
        sizes |= {round_up(size, multiple) for multiple in PADDINGS}
    return sizes
