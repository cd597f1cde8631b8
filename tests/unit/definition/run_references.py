"""Run clean definitions' references on small inputs, apart from the tests' own process.

    python run_references.py DEFINITIONS.json

Prints a JSON object: name -> list of problems. Constants that need no real size are made small.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import torch

torch.set_num_threads(1)
torch.manual_seed(0)

SMALL = {
    "num_experts": 16,
    "num_local_experts": 16,
    "hidden_size": 256,
    "intermediate_size": 128,
    "gemm1_out_size": 256,
    "num_hidden_blocks": 2,
    "num_intermediate_blocks": 1,
    "num_gemm1_out_blocks": 2,
    "vocab_size": 500,
    "hidden_div_2": 128,
}
SIZES = {
    "batch_size": 3,
    "batch_size_plus_1_q": 4,
    "batch_size_plus_1_kv": 4,
    "len_indptr": 4,
    "max_pages_per_seq": 2,
    "num_kv_indices": 12,
    "num_pages": 20,
    "num_tokens": 7,
    "q_len_per_request": 1,
    "seq_len": 5,
    "total_kv": 12,
    "total_q": 7,
}
SCALARS = {
    "sm_scale": 0.1,
    "bmm1_scale": 0.1,
    "bmm2_scale": 1.0,
    "local_expert_offset": 0,
    "routed_scaling_factor": 2.5,
}
FIXED = {
    "qo_indptr": [0, 2, 5, 7],
    "cum_seq_lens_q": [0, 2, 5, 7],
    "kv_indptr": [0, 3, 8, 12],
    "cum_seq_lens_kv": [0, 3, 8, 12],
    "seq_lens": [3, 5, 70],
    "top_k": [1, 5, 600],
    "top_p": [0.1, 0.5, 1.0],
    "min_p": [0.1, 0.5, 1.0],
}


def sizes(definition: dict[str, Any]) -> dict[str, int]:
    """Return a size for every axis."""
    found = {}
    for name, axis in definition["axes"].items():
        real = axis.get("value")
        found[name] = SIZES[name] if real is None else SMALL.get(name, real)
    if "decode" in definition["name"] and "num_tokens" in found:
        found["num_tokens"] = found["batch_size"]
    return found


def value(name: str, spec: dict[str, Any], axes: dict[str, int]) -> Any:
    """Return an input that the reference can make sense of."""
    if spec["shape"] is None:
        return SCALARS[name]
    shape = [axes[dim] for dim in spec["shape"]]
    if name in FIXED:
        tensor = torch.tensor(FIXED[name])
    elif name == "kv_indices":
        tensor = torch.randperm(20)[:12]
    elif name == "block_tables":
        tensor = torch.arange(math.prod(shape)).reshape(shape)
    elif name == "probs":
        tensor = torch.softmax(torch.randn(shape), -1)
    else:
        tensor = torch.randn(shape)
    return tensor.to(getattr(torch, spec["dtype"]))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's bytes, which compare for every dtype."""
    return tensor.contiguous().view(torch.uint8)


def problems(definition: dict[str, Any]) -> list[str]:
    """Run one reference; return what does not fit its definition."""
    axes = sizes(definition)
    inputs = {name: value(name, spec, axes) for name, spec in definition["inputs"].items()}
    before = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
    scope: dict[str, Any] = {}
    exec(compile(definition["reference"], definition["name"], "exec"), scope)
    result = scope["run"](*inputs.values())
    results = result if isinstance(result, tuple) else (result,)
    found = []
    if len(results) != len(definition["outputs"]):
        return [f"returned {len(results)} values"]
    for (name, spec), tensor in zip(definition["outputs"].items(), results, strict=True):
        if list(tensor.shape) != [axes[dim] for dim in spec["shape"]]:
            found.append(f"{name} is {list(tensor.shape)}")
        if str(tensor.dtype) != f"torch.{spec['dtype']}":
            found.append(f"{name} is {tensor.dtype}")
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            found.append(f"{name} is not finite")
    for name, tensor in inputs.items():
        if isinstance(tensor, torch.Tensor) and not torch.equal(bits(tensor), bits(before[name])):
            found.append(f"{name} was changed")
    return found


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as stream:
        print(json.dumps({name: problems(d) for name, d in json.load(stream).items()}))
