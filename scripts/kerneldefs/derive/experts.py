"""The experts of one rank and how tokens reach them, as a mixture's call says."""

from __future__ import annotations

import dataclasses
from typing import Any

from kerneldefs.capture.observe.ops import ROUTING_NUMBERS
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import BF16, F32, TOKENS, Underivable, fact


@dataclasses.dataclass(frozen=True)
class Experts:
    """The experts of one rank, and how tokens reach them."""

    experts: int
    local: int
    top_k: int
    hidden: int
    width: int
    routing: str
    groups: int
    topk_groups: int
    bias: bool
    gated: bool
    scaling: float
    activation: str
    biased: bool  # both products
    clamp: float | None
    alpha: float | None

    @property
    def grouped(self) -> bool:
        """Whether names tell the groups: of DeepSeek's routing, even of a single group."""
        return self.routing == "ds"

    @property
    def sizes(self) -> str:
        """Return the end of the names."""
        groups = f"_ng{self.groups}_kg{self.topk_groups}" if self.grouped else ""
        return f"topk{self.top_k}{groups}_e{self.local}_h{self.hidden}_i{self.width}"

    @property
    def rows(self) -> int:
        """Return the rows of an expert's first matrix."""
        return 2 * self.width if self.gated else self.width

    @property
    def plain(self) -> bool:
        """Whether an expert is two products and an activation, and nothing more."""
        return not (self.biased or self.clamp or self.alpha)

    def common(self) -> dict[str, Any]:
        """Return the scalars that every trtllm MoE function takes."""
        return {
            "num_experts": self.experts,
            "top_k": self.top_k,
            "n_group": self.groups if self.grouped else None,
            "topk_group": self.topk_groups if self.grouped else None,
            "intermediate_size": self.width,
            "local_expert_offset": 0,
            "local_num_experts": self.local,
            "routed_scaling_factor": self.scaling,
            "routing_method_type": ROUTING_NUMBERS[self.routing],
            "do_finalize": True,
        }

    def router(self) -> dict[str, Any]:
        """Return the router's tensors; DeepSeek's kernels take its logits in single precision."""
        found = {"routing_logits": fact(F32 if self.grouped else BF16, TOKENS, self.experts)}
        if self.bias:
            found["routing_bias"] = fact(F32 if self.grouped else BF16, self.experts)
        return found


def read(call: KernelCall) -> Experts:
    """Return the experts of an observed call; Underivable where no template can describe them."""
    said = call.scalars
    routing = str(said["routing"])
    if routing not in ROUTING_NUMBERS:
        raise Underivable("moe-routing", f"{call.layer}: no template routes as {routing}")
    if str(said["activation"]) not in ("silu", "relu2"):
        raise Underivable("moe-activation", f"{call.layer}: experts with {said['activation']}")
    return Experts(
        experts=said["num_experts"],
        local=said["num_local_experts"],
        top_k=said["top_k"],
        hidden=said["hidden_size"],
        width=said["intermediate_size"],
        routing=routing,
        groups=said.get("n_group") or 1,
        topk_groups=said.get("topk_group") or 1,
        bias="correction_bias" in call.tensors or routing == "ds",
        gated=bool(said["gated"]),
        scaling=float(said.get("routed_scaling_factor") or 1.0),
        activation=str(said["activation"]),
        biased=bool(said.get("biased")),
        clamp=said.get("clamp"),
        alpha=said.get("alpha"),
    )
