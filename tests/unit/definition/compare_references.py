"""Compare our references with independent ones: torch's attention, and counting draws.

    python compare_references.py REFERENCES_FOLDER

Prints a JSON object: what was compared -> the largest difference found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import itertools

from kerneldefs.definition.source import with_constant

torch.set_num_threads(1)
torch.manual_seed(0)
QO, KV = [0, 2, 5, 7], [0, 3, 8, 12]


def load(name: str, **constants: Any) -> Callable[..., Any]:
    """Return a reference's run with its constants set."""
    text = (Path(sys.argv[1]) / f"{name}.py").read_text(encoding="utf-8")
    for constant, value in constants.items():
        text = with_constant(text, constant, value)
    scope: dict[str, Any] = {}
    exec(compile(text, name, "exec"), scope)
    return scope["run"]


def expected(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, window: int, scale: float
) -> torch.Tensor:
    """Attention of one request by torch: q [n, h, d], k [m, kv, d], v [m, kv, e]."""
    place = torch.arange(q.shape[0])[:, None] + k.shape[0] - q.shape[0]
    key = torch.arange(k.shape[0])[None, :]
    seen = (key <= place) if causal else torch.ones(q.shape[0], k.shape[0], dtype=torch.bool)
    if window >= 0:
        seen = seen & (key >= place - window)
    q, k, v = (x.transpose(0, 1).float()[None] for x in (q, k, v))
    result = scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=True)
    return result[0].transpose(0, 1)


def of_requests(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, window: int
) -> torch.Tensor:
    """Attention of the three requests that QO and KV tell apart."""
    queries = [slice(*pair) for pair in itertools.pairwise(QO)]
    keys = [slice(*pair) for pair in itertools.pairwise(KV)]
    return torch.cat(
        [
            expected(q[i], k[j], v[j], causal, window, 0.3)
            for i, j in zip(queries, keys, strict=True)
        ]
    )


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference."""
    return float((one.float() - other.float()).abs().max())


def ragged(causal: bool, window: int, qk: int, vo: int) -> float:
    """Compare the ragged prefill."""
    q, k, v = torch.randn(7, 4, qk), torch.randn(12, 2, qk), torch.randn(12, 2, vo)
    run = load("gqa_ragged_prefill", CAUSAL=causal, WINDOW_LEFT=window)
    output, _ = run(q, k, v, torch.tensor(QO), torch.tensor(KV), 0.3)
    parts = [
        expected(
            q[QO[i] : QO[i + 1]], k[KV[i] : KV[i + 1]], v[KV[i] : KV[i + 1]], causal, window, 0.3
        )
        for i in range(3)
    ]
    return gap(output, torch.cat(parts))


def paged(causal: bool, window: int) -> float:
    """Compare the paged prefill at page size 1."""
    q, cache = torch.randn(7, 4, 8), torch.randn(2, 20, 1, 2, 8)
    pages = torch.randperm(20)[:12]
    run = load("gqa_paged_prefill", CAUSAL=causal, WINDOW_LEFT=window)
    output, _ = run(q, *cache, torch.tensor(QO), torch.tensor(KV), pages, 0.3)
    k, v = cache[0, pages, 0], cache[1, pages, 0]
    parts = [
        expected(
            q[QO[i] : QO[i + 1]], k[KV[i] : KV[i + 1]], v[KV[i] : KV[i + 1]], causal, window, 0.3
        )
        for i in range(3)
    ]
    return gap(output, torch.cat(parts))


def decode(window: int) -> float:
    """Compare the paged decode at page size 1."""
    q, cache = torch.randn(3, 4, 8), torch.randn(2, 20, 1, 2, 8)
    pages = torch.randperm(20)[:12]
    run = load("gqa_paged_decode", WINDOW_LEFT=window)
    output, _ = run(q, *cache, torch.tensor(KV), pages, 0.3)
    k, v = cache[0, pages, 0], cache[1, pages, 0]
    parts = [
        expected(q[i : i + 1], k[KV[i] : KV[i + 1]], v[KV[i] : KV[i + 1]], True, window, 0.3)
        for i in range(3)
    ]
    return gap(output, torch.cat(parts))


def mla(causal: bool) -> float:
    """Compare the paged MLA prefill: keys are [ckv, kpe], values are ckv, one for all heads."""
    q_nope, q_pe = torch.randn(7, 4, 8), torch.randn(7, 4, 2)
    ckv, kpe, pages = torch.randn(20, 1, 8), torch.randn(20, 1, 2), torch.randperm(20)[:12]
    run = load("mla_paged_prefill", CAUSAL=causal)
    output, _ = run(q_nope, q_pe, ckv, kpe, torch.tensor(QO), torch.tensor(KV), pages, 0.3)
    q, k, v = torch.cat([q_nope, q_pe], -1), torch.cat([ckv, kpe], -1)[pages], ckv[pages]
    return gap(output, of_requests(q, k, v, causal, -1))


def merged() -> float:
    """Attention over two parts, merged by their base-2 log-sum-exps, is attention over both."""
    q, k, v = torch.randn(2, 2, 8), torch.randn(9, 2, 8), torch.randn(9, 2, 8)
    run = load("gqa_ragged_prefill", CAUSAL=False)
    whole = [run(q, k, v, torch.tensor([0, 2]), torch.tensor([0, 9]), 0.3)]
    for part in (slice(0, 4), slice(4, 9)):
        offsets = torch.tensor([0, part.stop - part.start])
        whole.append(run(q, k[part], v[part], torch.tensor([0, 2]), offsets, 0.3))
    (output, lse), (one, lse_one), (other, lse_other) = whole
    weight = (2.0 ** (lse_one - lse))[..., None]
    together = torch.log2(2.0**lse_one + 2.0**lse_other)
    return max(gap(output, one * weight + other * (1 - weight)), gap(lse, together))


def soft_cap() -> float:
    """A soft cap far above the logits changes nothing; a small one bounds them."""
    q, k, v = torch.randn(1, 1, 8), torch.randn(5, 1, 8), torch.randn(5, 1, 8)
    offsets = (torch.tensor([0, 1]), torch.tensor([0, 5]))
    plain, _ = load("gqa_ragged_prefill")(q, k, v, *offsets, 0.3)
    high, _ = load("gqa_ragged_prefill", SOFT_CAP=1e4)(q, k, v, *offsets, 0.3)
    flat, _ = load("gqa_ragged_prefill", SOFT_CAP=1e-6)(q, k, v, *offsets, 0.3)
    return max(gap(plain, high), gap(flat, v.mean(0, keepdim=True)))


def drawn(
    name: str,
    probs: list[float],
    kept: list[int],
    *limits: torch.Tensor,
    of_logits: bool = False,
) -> float:
    """Compare how often each token is drawn with its share among the kept ones."""
    rows = 20_000
    row = torch.tensor(probs)
    given = row.log() if of_logits else row
    tokens = load(name)(given.repeat(rows, 1), *(limit.repeat(rows) for limit in limits))
    share = torch.zeros_like(row)
    share[kept] = row[kept] / row[kept].sum()
    return gap(torch.bincount(tokens.long(), minlength=len(probs)) / rows, share)


def main() -> None:
    """Compare everything."""
    probs = [0.1, 0.4, 0.2, 0.3]
    one = torch.ones(1)
    renorm = load("top_k_renorm_probs")(torch.tensor([probs] * 2), torch.tensor([2, 9]))
    logits = torch.tensor([probs] * 2).log()
    masked = load("top_k_mask_logits")(logits, torch.tensor([2, 9]))
    two = torch.tensor([[0, 4 / 7, 0, 3 / 7], probs])
    found = {
        **{
            f"ragged causal={c} window={w} dims={d}": ragged(c, w, *d)
            for c in (True, False)
            for w in (-1, 0, 2)
            for d in ((8, 8), (12, 8))
        },
        **{f"paged causal={c} window={w}": paged(c, w) for c in (True, False) for w in (-1, 1)},
        **{f"decode window={w}": decode(w) for w in (-1, 0, 2, 50)},
        **{f"mla causal={c}": mla(c) for c in (True, False)},
        "merged": merged(),
        "soft cap": soft_cap(),
        "top-k renorm": gap(renorm, two),
        "top-k mask": gap(torch.softmax(masked, -1), two),
    }
    counted = {
        "min-p": drawn("min_p_sampling", probs, [1, 3], one * 0.7),
        "plain": drawn("sampling_from_probs", probs, [0, 1, 2, 3]),
        "logits": drawn("sampling_from_logits", probs, [0, 1, 2, 3], of_logits=True),
        # Top-p looks at what top-k left: 0.44 and 0.78 of 1 where 0.7 is asked for keep 1, 3.
        "logits in turn": drawn(
            "top_k_top_p_sampling_from_logits",
            probs,
            [1, 3],
            one.int() * 3,
            one * 0.7,
            of_logits=True,
        ),
        # Of 0.4 / 0.7 = 0.57 and 1: 0.5 keeps 1 alone, as it would not of the whole row.
        "logits first": drawn(
            "top_k_top_p_sampling_from_logits",
            probs,
            [1],
            one.int() * 2,
            one * 0.5,
            of_logits=True,
        ),
        # Of the joint filters top-k keeps 1, 3, 2 and top-p, which looks at 0.4, 0.7, 0.9 and not
        # at what top-k left (0.44, 0.78, 1), keeps 1, 3.
        "joint": drawn("top_k_top_p_joint_sampling", probs, [1, 3], one.int() * 3, one * 0.7),
        "joint first": drawn("top_k_top_p_joint_sampling", probs, [1], one.int() * 3, one * 0.0),
    }
    print(json.dumps({"exact": found, "counted": counted}))


if __name__ == "__main__":
    main()
