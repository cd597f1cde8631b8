"""What the architecture decides about experts: padding, formats, and what becomes of shared ones.

Rules of sglang 0.5.21: srt/models/deepseek_v2.py, srt/models/qwen2_moe.py and
srt/layers/quantization/mxfp4.py.
"""

from __future__ import annotations

from kerneldefs.derive.predict.calls import BLACKWELL, Subject
from kerneldefs.derive.predict.formats import EXPERTS
from kerneldefs.derive.predict.unquantized import ALL
from kerneldefs.serving.ranksizes import round_up

_HOPPER = ("sm_80", "sm_89", "sm_90")
SHARED = "mlp.shared_experts"
# Of config.json's model_type, those whose experts are DeepseekV2MoE.
_DEEPSEEK = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "kimi_k2")


def _before_blackwell(subject: Subject) -> bool:
    return subject.config.arch in _HOPPER


def routing(subject: Subject) -> str:
    """Return how tokens choose experts, in the words of capture/observe/ops.py."""
    data = subject.data
    if data.get("scoring_func") == "sigmoid" and not (data.keys() & {"n_group", "topk_method"}):
        return "sigmoid_renorm"  # MiniMax, whose experts have no groups
    sigmoid = (data.get("scoring_func"), data.get("moe_router_activation_func"))
    if data.get("topk_method") == "noaux_tc" or "sigmoid" in sigmoid:
        return "ds"
    if subject.kind == "nemotron_h":
        return "ds"
    if data.get("norm_topk_prob") is False:
        return "default"
    naive = subject.kind.startswith(("qwen3_next", "qwen3_5"))
    return "renormalize_naive" if naive else "renormalize"


def activations(subject: Subject) -> str:
    """Return the format in which experts take hidden states: MXFP4's are quantized on sm_100."""
    quantized = subject.scheme_of(EXPERTS) == "mxfp4" and not _before_blackwell(subject)
    return "mxfp8" if quantized else subject.dtype


def padded(subject: Subject, hidden: int, width: int) -> tuple[int, int]:
    """Return the widths that experts' kernels are given."""
    if subject.scheme_of(EXPERTS) != "mxfp4":
        return hidden, width
    if _before_blackwell(subject):
        return hidden, round_up(width, 64)
    return round_up(hidden, 256), round_up(width, 128)


def fused_shared_width(subject: Subject) -> int | None:
    """Return the width on one rank of shared experts that are computed with the routed ones."""
    data, moe = subject.data, subject.sizes.experts
    if moe is None or moe.intermediate is None or not _before_blackwell(subject):
        return None
    width = int(data.get("moe_intermediate_size") or 0)
    if subject.kind == "deepseek_v3":
        alike = moe.experts == 256 and data.get("n_shared_experts") == 1
        fused = alike and subject.config.ep == 1 and subject.scheme != "nvfp4"
    else:
        shared = data.get("shared_expert_intermediate_size")
        fused = subject.kind.startswith("qwen3_next") and shared == width
    return width // subject.sizes.dense_tp if fused else None


def activates_in_product(subject: Subject, width: int) -> bool:
    """Whether an MLP's first product, SiLU and quantization are one kernel, which nothing names.

    So it is in shared experts of NVFP4 on sm_100, where 128 divides the product's columns.
    """
    data = subject.data
    if subject.kind not in _DEEPSEEK or subject.config.arch not in BLACKWELL:
        return False
    both = (f"{SHARED}.gate_up_proj", f"{SHARED}.down_proj")
    quantized = all(
        subject.scheme_of(layer) == "nvfp4" and subject.unquantized(layer) != ALL for layer in both
    )
    unlimited = data.get("swiglu_limit") is None
    return quantized and unlimited and is_shared(subject, width) and 2 * width % 128 == 0


def is_shared(subject: Subject, width: int) -> bool:
    """Whether an MLP's width on one rank is that of the experts that all tokens share."""
    data = subject.data
    named = data.get("shared_expert_intermediate_size") or data.get("shared_intermediate_size")
    count = data.get("n_shared_experts") or 0
    shared = named or int(data.get("moe_intermediate_size") or 0) * count
    return bool(shared) and width == int(shared) // subject.sizes.dense_tp


def gates_shared_expert(subject: Subject) -> bool:
    """Whether a gate of one row is a product of its own; Qwen3-Next's is fused on sm_100."""
    if not subject.data.get("shared_expert_intermediate_size"):
        return False
    return not subject.kind.startswith("qwen3_next") or _before_blackwell(subject)
