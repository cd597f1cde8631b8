"""Makers of predicted calls, in the words that hooks use for observed ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from kerneldefs.capture.observe import ops
from kerneldefs.capture.observe.ops import contiguous
from kerneldefs.capture.record import KernelCall, TensorFact
from kerneldefs.derive.predict.formats import format_of, formats
from kerneldefs.derive.predict.unquantized import ALL, SOME, left_out, share
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import ModelConfig
from kerneldefs.serving.ranksizes import RankSizes

TOKENS, REQUESTS = 16, 4
BLACKWELL = ("sm_100", "sm_103")  # what SGLang calls sm100
DECODE, EXTEND = "decode", "extend"
PHASE = "inventory"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model on one rank of a serving config: what every formula reads."""

    data: Mapping[str, Any]  # config.json's language part
    sizes: RankSizes
    config: ServingConfig
    dtype: str
    plain: tuple[str, ...] = ()  # modules that keep their weights in a quantized model
    formats: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of a mixed precision

    @staticmethod
    def of(model: ModelConfig, config: ServingConfig, sizes: RankSizes) -> Subject:
        """Return the subject.

        Without a dtype in config.json SGLang takes half precision, which MXFP4 is not served in.
        """
        default = "bfloat16" if config.quantization == "mxfp4" else "float16"
        known = (model.data, model.quant_data)
        dtype = model.dtype or default
        return Subject(model.language, sizes, config, dtype, left_out(*known), formats(*known))

    @property
    def eps(self) -> float:
        """Return the norms' epsilon."""
        for key in ("rms_norm_eps", "layer_norm_epsilon", "norm_eps", "layernorm_epsilon"):
            if isinstance(self.data.get(key), (int, float)):
                return float(self.data[key])
        return 1e-6

    @property
    def kind(self) -> str:
        """Return config.json's model_type."""
        return str(self.data.get("model_type", ""))

    @property
    def block(self) -> tuple[int, int] | None:
        """Return the block of an FP8 model's scales."""
        quant = self.data.get("quantization_config") or {}
        size = quant.get("weight_block_size") if isinstance(quant, dict) else None
        return (int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else None

    @property
    def scheme(self) -> str:
        """Return how the weights of linear layers and experts are quantized."""
        said = self.config.quantization
        if said == "fp8":
            return "fp8_block" if self.block else "fp8_tensor"
        return {"none": "none", "nvfp4": "nvfp4", "mxfp4": "mxfp4", "mxfp8": "mxfp8"}.get(
            said, f"other: {said}"
        )

    def scheme_of(self, layer: str) -> str:
        """Return how the weight of a linear layer, or of routed experts, is quantized."""
        if self.formats and self.scheme.startswith("other"):
            return format_of(self.formats, layer)
        return self.scheme

    def unquantized(self, layer: str) -> str:
        """Return in how many of the model's layers a linear layer keeps its weight."""
        return share(self.plain, layer, self._layers_of(layer))

    def _layers_of(self, layer: str) -> list[int]:
        """Return the layers that have a module."""
        pattern = str(self.data.get("hybrid_override_pattern") or "")
        kinds = {"self_attn": "*", "mixer": "M"} if self.kind == "nemotron_h" else {}
        kind = kinds.get(layer.partition(".")[0])
        if kind and pattern:
            return [i for i, letter in enumerate(pattern) if letter == kind]
        every = range(int(self.data.get("num_hidden_layers") or 0))
        types = self.data.get("layer_types")
        if isinstance(types, list) and layer.startswith(("self_attn.", "linear_attn.")):
            linear = layer.startswith("linear_attn.")
            return [i for i, type_ in enumerate(types) if (type_ == "linear_attention") == linear]
        dense = self.data.get("first_k_dense_replace") or 0
        if dense and layer.startswith("mlp."):
            return list(every[dense:] if "shared_expert" in layer else every[:dense])
        return list(every)


def call(
    op: str,
    layer: str,
    tensors: Mapping[str, TensorFact],
    scalars: Mapping[str, Any],
    outputs: tuple[TensorFact, ...] = (),
) -> KernelCall:
    """Return a predicted call."""
    return KernelCall(
        op=op,
        tensors=dict(tensors),
        scalars=dict(scalars),
        outputs=outputs,
        plan=None,
        state={},
        phase=PHASE,
        layer=layer,
        definition=None,
        template=None,
        marks=(),
        origin="predicted",
    )


def linear(
    subject: Subject,
    layer: str,
    n: int,
    k: int,
    *,
    scheme: str | None = None,
    output: str | None = None,
    shards: tuple[int, ...] = (),
    bias: bool = False,
    packed: bool = False,
) -> KernelCall:
    """A linear layer of n output and k input features; `output` is the product's dtype.

    The input is `packed` where it comes quantized, two FP4 numbers a byte.
    """
    if scheme is None:
        scheme = "none" if subject.unquantized(layer) == ALL else subject.scheme_of(layer)
    weight = "float8_e4m3fn" if scheme.startswith("fp8") else subject.dtype
    block = subject.block or (None, None)
    return call(
        ops.LINEAR,
        layer,
        {
            "x": contiguous((TOKENS, k // 2), "uint8")
            if packed
            else contiguous((TOKENS, k), subject.dtype),
            "weight": contiguous((n, k), weight),
        },
        {
            "quantization": scheme,
            "block_n": block[0],
            "block_k": block[1],
            "bias": bias,
            "shards": ",".join(map(str, shards)) or None,
        },
        (contiguous((TOKENS, n), output or subject.dtype),),
    )


def in_other_layers(subject: Subject, quantized: KernelCall) -> Iterator[KernelCall]:
    """Yield the call of a linear layer whose weight only some of the layers quantize."""
    if quantized.op != ops.LINEAR or quantized.scalars["quantization"] == "none":
        return
    if subject.unquantized(quantized.layer) == SOME:
        weight = dataclasses.replace(quantized.tensors["weight"], dtype=subject.dtype)
        yield dataclasses.replace(
            quantized,
            tensors={**quantized.tensors, "weight": weight},
            scalars={**quantized.scalars, "quantization": "none"},
        )


def norms(
    subject: Subject, layer: str, width: int, *, fused: bool, style: str | None = None
) -> KernelCall:
    """An RMS norm of rows of a width, after adding a residual if `fused`."""
    rows = contiguous((TOKENS, width), subject.dtype)
    tensors = {"x": rows, "weight": contiguous((width,), subject.dtype)}
    if fused:
        tensors["residual"] = rows
    gemma = subject.kind.startswith(("gemma", "qwen3_next", "qwen3_5"))
    gemma = gemma or bool(subject.data.get("use_gemma_norm"))  # MiniMax-M3
    return call(
        ops.NORM,
        layer,
        tensors,
        {
            "kind": "norm",
            "style": style or ("gemma_rmsnorm" if gemma else "rmsnorm"),
            "eps": subject.eps,
            "partial": None,
        },
    )


def layer_norm(subject: Subject, layer: str, width: int) -> KernelCall:
    """A layer norm with its weight and bias in single precision, of epsilon 1e-6."""
    tensors = {name: contiguous((width,), "float32") for name in ("weight", "bias")}
    return call(
        ops.NORM,
        layer,
        {"x": contiguous((TOKENS, width), subject.dtype), **tensors},
        {"kind": "LayerNorm", "style": "layernorm", "eps": 1e-6, "partial": None},
    )


def rope(subject: Subject, layer: str, heads: int, kv: int, dim: int, rd: int, neox: bool) -> Any:
    """A rotary embedding of heads of `dim`, of which the first `rd` elements are rotated."""
    rows = {
        name: contiguous((TOKENS, count * dim), subject.dtype)
        for name, count in (("query", heads), ("key", kv))
    }
    return call(
        ops.ROPE,
        layer,
        {
            **rows,
            "positions": contiguous((TOKENS,), "int64"),
            "cos_sin_cache": contiguous((4096, rd), "float32"),
        },
        {"head_size": dim, "rotary_dim": rd, "is_neox": neox, "sections": None},
    )


def attention(
    subject: Subject, layer: str, *, heads: int, kv: int, qk: int, vo: int, **said: Any
) -> Iterator[KernelCall]:
    """Attention in decode, in prefill and in prefill on a cached prefix.

    `said` overrides scalars; `modes` and `tensors` among it name other modes and further tensors.
    """
    modes = said.pop("modes", ((DECODE, False), (EXTEND, False), (EXTEND, True)))
    further = said.pop("tensors", {})
    for mode, prefix in modes:
        scalars = {
            "num_qo_heads": heads,
            "num_kv_heads": kv,
            "head_dim_qk": qk,
            "head_dim_vo": vo,
            "window_left": -1,
            "soft_cap": 0.0,
            "scale": qk**-0.5,
            "sinks": False,
            "attention": "decoder",
            "mode": mode,
            "cached_prefix": prefix,
            **said,
        }
        tensors = {"q": contiguous((TOKENS, heads * qk), subject.dtype), **further}
        yield call(ops.ATTENTION, layer, tensors, scalars)
