"""Shapes of what SGLang's compiled operators return, and of the helpers of stubbed kernel packages.

Sources: operator schemas of the installed kernel package (sgl_kernel/op_schemas.txt) and
deep_gemm's documented layouts (scale factors packed four to an int32, TMA rows of 16 bytes).
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kerneldefs.capture.simulate import tensors
from kerneldefs.capture.simulate.stubs import Stub, StubModule
from kerneldefs.errors import KerneldefsError

SCHEMAS_FILE = "op_schemas.txt"
_LIBRARIES = ("flash_ops", "flashmla_ops", "infllm_ops", "spatial_ops")


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _scaled_mm(
    a: torch.Tensor,
    b: torch.Tensor,
    a_scale: Any,
    b_scale: Any,
    dtype: torch.dtype,
    bias: Any = None,
) -> torch.Tensor:
    """[M, K] x [K, N] -> [M, N]."""
    return a.new_empty((a.shape[0], b.shape[1]), dtype=dtype)


def _flash_attention(q: torch.Tensor, k: Any, v: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """FA3 forward: output [.., heads, v dim], log-sum-exp [heads, tokens], two accumulators.

    The output of FP8 queries is bfloat16 (flash_api.cpp of FlashAttention 3).
    """
    dtype = torch.bfloat16 if q.dtype == torch.float8_e4m3fn else q.dtype
    out = torch.empty(*q.shape[:-1], v.shape[-1], dtype=dtype, device=q.device)
    lse = torch.empty(q.shape[-2], q.shape[0], dtype=torch.float32, device=q.device)
    return out, lse, lse, lse


def _sparse_prefill(
    q: torch.Tensor, kv: Any, indices: Any, scale: float, d_v: int, *args: Any, **kwargs: Any
) -> list[torch.Tensor]:
    """FlashMLA on chosen tokens: output [tokens, heads, d_v], largest logit and log-sum-exp."""
    per_head = q.new_empty(q.shape[:2], dtype=torch.float32)
    return [q.new_empty((*q.shape[:2], d_v)), per_head, per_head.clone()]


def _sparse_decode(
    q: torch.Tensor,
    kv: Any,
    indices: Any,
    topk_length: Any,
    sink: Any,
    schedule: Any,
    splits: Any,
    extra_kv: Any,
    extra_indices: Any,
    extra_length: Any,
    d_v: int,
    scale: float,
) -> tuple[Any, ...]:
    """FlashMLA on chosen tokens: output [batch, tokens, heads, d_v], lse [batch, heads, tokens]."""
    batch, tokens, heads, _ = q.shape
    lse = q.new_empty((batch, heads, tokens), dtype=torch.float32)
    return q.new_empty((batch, tokens, heads, d_v)), lse, schedule, splits


def _cuda(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="cuda")


_COMPILED_OPS: dict[str, Callable[..., Any]] = {
    "sgl_kernel::fp8_blockwise_scaled_mm": _scaled_mm,
    "sgl_kernel::fp8_scaled_mm": _scaled_mm,
    "sgl_kernel::fwd": _flash_attention,
    "sgl_kernel::get_scheduler_metadata": lambda *a, **k: _cuda(16, dtype=torch.int32),
    "sgl_kernel::int8_scaled_mm": _scaled_mm,
    "sgl_kernel::sparse_decode_fwd": _sparse_decode,
    "sgl_kernel::sparse_prefill_fwd": _sparse_prefill,
    "sgl_kernel::weak_ref_tensor": lambda tensor: tensor,
}


def remember_python_ops() -> None:
    """Note the Python body of every custom operator that is registered from now on."""
    real_impl = torch.library.Library.impl

    def impl(self: Any, op: Any, body: Any, dispatch_key: str = "", **kwargs: Any) -> Any:
        if dispatch_key != "Meta" and callable(body):
            name = op if isinstance(op, str) else op._schema.name
            full = name if "::" in name else f"{self.ns}::{name}"
            if full.split("::")[0] not in ("aten", "prims"):
                tensors.PYTHON_OPS[full] = body
        return real_impl(self, op, body, dispatch_key, **kwargs)

    torch.library.Library.impl = impl


def define_operators(keep: list[Any]) -> None:
    """Define the kernel package's operators by schema, without loading its libraries.

    `keep` takes what must live as long as the process (an operator library unregisters when it is
    collected). A schema that torch already knows or cannot parse is left out: calling such an
    operator then fails with torch's own error, which names it.
    """
    tensors.COMPILED_OPS.update(_COMPILED_OPS)
    library = torch.library.Library("sgl_kernel", "FRAGMENT")
    keep.append(library)
    for schema in _schemas(_package_folder()):
        try:
            library.define(schema)
        except RuntimeError:
            continue


def load_package() -> None:
    """Import `sgl_kernel`, its libraries stubbed; after FlashInfer, which it imports."""
    placeholder = types.ModuleType("sgl_kernel")
    placeholder.__path__ = [str(_package_folder())]
    sys.modules["sgl_kernel"] = placeholder
    loading: Any = importlib.import_module("sgl_kernel.load_utils")
    loading._load_architecture_specific_ops = lambda: Stub("common_ops")
    loading._preload_cuda_library = lambda: None
    del sys.modules["sgl_kernel"]
    libraries = {name: StubModule(f"sgl_kernel.{name}") for name in _LIBRARIES}
    sys.modules.update({module.__name__: module for module in libraries.values()})
    package: Any = importlib.import_module("sgl_kernel")
    for name, module in libraries.items():
        setattr(package, name, module)


def _package_folder() -> Path:
    spec = importlib.util.find_spec("sgl_kernel")
    if spec is None or not spec.submodule_search_locations:
        raise KerneldefsError(
            "the package sgl_kernel is not installed; run `make install`, which installs its "
            "Python files and operator schemas"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _schemas(folder: Path) -> list[str]:
    path = folder / SCHEMAS_FILE
    if not path.exists():
        raise KerneldefsError(
            f"{path} is missing; run `make install`, which reads the operator schemas out of the "
            "kernel package"
        )
    return [re.sub(r"\s+", " ", line) for line in path.read_text().splitlines() if line.strip()]


def _packed_scales(scales: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """UE8M0 scale factors [.., K] -> four to an int32 [.., ceil(K/4)]."""
    return _cuda(*scales.shape[:-1], _ceil_div(scales.shape[-1], 4), dtype=torch.int32)


def _required_scale_layout(
    scales: torch.Tensor,
    mn: int,
    k: int,
    recipe: Any = None,
    num_groups: int | None = None,
    *args: Any,
    **kwargs: Any,
) -> torch.Tensor:
    """Per-128 scale factors of a [groups, mn, k] operand, packed four to an int32."""
    groups = [num_groups] if num_groups else []
    return _cuda(*groups, mn, _ceil_div(k, 512), dtype=torch.int32)


def _tma_aligned(size: int, element_bytes: int) -> int:
    per_row = 16 // element_bytes
    return _ceil_div(size, per_row) * per_row


def install_deep_gemm(multiprocessors: int) -> None:
    """Give the deep_gemm stub the helpers whose results SGLang's Python code uses."""
    deep_gemm: Any = importlib.import_module("deep_gemm")
    utils: Any = importlib.import_module("deep_gemm.utils")
    layout: Any = importlib.import_module("deep_gemm.utils.layout")
    layout.get_mn_major_tma_aligned_packed_ue8m0_tensor = _packed_scales
    layout.get_mn_major_tma_aligned_tensor = lambda scales: scales
    for module in (deep_gemm, layout):
        module.transform_sf_into_required_layout = _required_scale_layout
    for module in (deep_gemm, utils, layout):
        module.get_tma_aligned_size = _tma_aligned
    utils.align = lambda x, y: _ceil_div(x, y) * y
    deep_gemm.get_num_sms = lambda: multiprocessors
    deep_gemm.get_paged_mqa_logits_metadata = lambda lengths, block, sms: _cuda(
        sms + 1, 2, dtype=torch.int32
    )
    deep_gemm.fp8_mqa_logits = lambda q, kv, *a, **k: _cuda(
        q.shape[0], kv[0].shape[0], dtype=torch.float32
    )
    deep_gemm.fp8_paged_mqa_logits = lambda q, kv, weights, lengths, table, meta, width, *a, **k: (
        _cuda(q.shape[0] * q.shape[1], width, dtype=torch.float32)
    )


_CUTLASS_WIDTHS = {
    4: ["Float4E2M1FN"],
    8: ["Boolean", "Float8E4M3FN", "Float8E5M2", "Float8E8M0FNU", "Int8", "Uint8"],
    16: ["BFloat16", "Float16", "Int16", "Uint16"],
    32: ["Float32", "Int32", "TFloat32", "Uint32"],
    64: ["Int64", "Uint64"],
}


def install_cutlass_types() -> None:
    """Give a stubbed `cutlass` what Python code computes with: number types, with their width in
    bits, division, and the threads of a warp and columns of tensor memory of sm_100.
    """
    cutlass: Any = importlib.import_module("cutlass")
    if not isinstance(cutlass, StubModule):
        return
    for width, names in _CUTLASS_WIDTHS.items():
        for name in names:
            members = {"width": width, "mlir_type": None, "__init__": lambda self, *a, **k: None}
            setattr(cutlass, name, type(name, (), members))
    cute: Any = importlib.import_module("cutlass.cute")
    cute.ceil_div = _ceil_div
    arch: Any = importlib.import_module("cutlass.cute.arch")
    arch.WARP_SIZE = 32
    arch.get_max_tmem_alloc_cols = lambda compute_capability: 512
