"""What a cookbook entry's command-line arguments and environment mean for the kernels called.

Only listed arguments reach SGLang; everything else ends as a note, so that nothing an entry asks
for is lost in silence. Names are those of sglang 0.5.21 (srt/arg_groups/fields).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

# Arguments that change what is called: flag -> ServerArgs field, by the kind of value they take.
_WORDS = {
    "--attention-backend": "attention_backend",
    "--bf16-gemm-backend": "bf16_gemm_backend",
    "--decode-attention-backend": "decode_attention_backend",
    "--dllm-algorithm": "dllm_algorithm",
    "--dsa-decode-backend": "dsa_decode_backend",
    "--dsa-prefill-backend": "dsa_prefill_backend",
    "--dtype": "dtype",
    "--flashinfer-mxfp4-moe-precision": "flashinfer_mxfp4_moe_precision",
    "--fp4-gemm-backend": "fp4_gemm_runner_backend",
    "--fp8-gemm-backend": "fp8_gemm_runner_backend",
    "--kv-cache-dtype": "kv_cache_dtype",
    "--linear-attn-backend": "linear_attn_backend",
    "--linear-attn-decode-backend": "linear_attn_decode_backend",
    "--linear-attn-prefill-backend": "linear_attn_prefill_backend",
    "--mamba-backend": "mamba_backend",
    "--mamba-ssm-dtype": "mamba_ssm_dtype",
    "--moe-a2a-backend": "moe_a2a_backend",
    "--moe-runner-backend": "moe_runner_backend",
    "--prefill-attention-backend": "prefill_attention_backend",
    "--quantization": "quantization",
    "--sampling-backend": "sampling_backend",
}
_NUMBERS = {
    "--data-parallel-size": "dp_size",
    "--dp": "dp_size",
    "--dp-size": "dp_size",
    "--ep": "ep_size",
    "--ep-num-redundant-experts": "ep_num_redundant_experts",
    "--ep-size": "ep_size",
    "--expert-parallel-size": "ep_size",
    "--moe-dense-tp-size": "moe_dense_tp_size",
    "--page-size": "page_size",
    "--tensor-parallel-size": "tp_size",
    "--tp": "tp_size",
    "--tp-size": "tp_size",
}
_SWITCHES = {
    "--disable-chunked-prefix-cache": "disable_chunked_prefix_cache",
    "--disable-shared-experts-fusion": "disable_shared_experts_fusion",
    "--enable-dp-attention": "enable_dp_attention",
    "--enable-dp-lm-head": "enable_dp_lm_head",
    "--enable-flashinfer-allreduce-fusion": "enable_flashinfer_allreduce_fusion",
    "--enable-fp32-lm-head": "enable_fp32_lm_head",
    "--enable-fused-qk-norm-rope": "enable_fused_qk_norm_rope",
    "--enforce-shared-experts-fusion": "enforce_shared_experts_fusion",
    "--flashinfer-mla-disable-ragged": "flashinfer_mla_disable_ragged",
}

# Arguments that leave the calls of one forward pass alone, by what they are about.
_IGNORED = {
    "memory and batching": (
        "--chunked-prefill-size --context-length --mamba-full-memory-ratio --max-prefill-tokens "
        "--max-queued-requests --max-running-requests --max-total-tokens --mem-fraction-static "
        "--swa-full-tokens-ratio"
    ),
    "scheduling and caching": (
        "--disable-cuda-graph --disable-cuda-graph-padding --disable-overlap-schedule "
        "--disable-radix-cache --enable-hierarchical-cache --enable-mixed-chunk "
        "--load-balance-method --mamba-scheduler-strategy --mamba-radix-cache-strategy "
        "--num-continuous-decode-steps --schedule-conservativeness --schedule-policy "
        "--stream-interval"
    ),
    "communication between GPUs": (
        "--disable-custom-all-reduce --dist-init-addr --dist-timeout --enable-mscclpp "
        "--enable-nccl-nvls --enable-p2p-check --enable-symm-mem --enable-torch-symm-mem "
        "--nccl-init-addr --nccl-port --nnodes --node-rank --pipeline-parallel-size --pp-size"
    ),
    "images, audio and video": (
        "--enable-cfg-parallel --enable-multimodal --limit-mm-data-per-request --num-gpus "
        "--ring-degree --ulysses-degree"
    ),
    "loading and serving": (
        "--api-key --chat-template --decode-log-interval --download-dir --enable-metrics --host "
        "--load-format --model --model-loader-extra-config --model-path --port "
        "--reasoning-parser --served-model-name --skip-server-warmup --tokenizer-mode "
        "--tokenizer-path --tokenizer-worker-num --tool-call-parser --watchdog-timeout"
    ),
}
_ABOUT = {flag: about for about, flags in _IGNORED.items() for flag in flags.split()}
_ABOUT_FAMILY = {
    "--cuda-graph-": "scheduling and caching",
    "--hicache-": "scheduling and caching",
    "--log-": "loading and serving",
    "--mm-": "images, audio and video",
    "--speculative-": "speculative decoding",
}
_REMOTE_CODE = "--trust-remote-code"

# Environment variables are never passed on; these are known to leave the calls alone.
_IGNORED_ENVIRONMENT = {
    "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN": "memory and batching",
    "SGLANG_ENABLE_SPEC_V2": "speculative decoding",
}
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A cookbook entry's arguments, read: `settings` by ServerArgs field name, and the notes."""

    settings: dict[str, Any]
    notes: tuple[str, ...]


def read_arguments(
    words: Iterable[str], environment: Mapping[str, str], *, trust_remote_code: bool
) -> Arguments:
    """Read `extra_args` (`--x v` and `--x=v` alike) and `env_vars` of an entry. Never raises."""
    settings: dict[str, Any] = {}
    notes: list[str] = []
    left_out: dict[str, list[str]] = {}
    for flag, value in _pairs(words):
        shown = f"{flag} {value}" if value is not None else flag
        if flag == _REMOTE_CODE:
            if not trust_remote_code:
                notes.append(f"{flag} left out, since trust_remote_code is not set")
        elif about := _about(flag):
            left_out.setdefault(about, []).append(shown)
        else:
            field, setting = _setting(flag, value)
            if field is None:
                notes.append(f"argument {shown} left out: {setting}")
            else:
                settings[field] = setting
    for name, text in sorted(environment.items()):
        if name in _IGNORED_ENVIRONMENT:
            left_out.setdefault(_IGNORED_ENVIRONMENT[name], []).append(f"{name}={text}")
        else:
            notes.append(f"environment variable {name} left out: none is passed on")
    notes += [f"{about} ignored: {' '.join(shown)}" for about, shown in left_out.items()]
    return Arguments(settings, tuple(notes))


def _about(flag: str) -> str | None:
    families = (about for prefix, about in _ABOUT_FAMILY.items() if flag.startswith(prefix))
    return _ABOUT.get(flag) or next(families, None)


def _pairs(words: Iterable[str]) -> Iterable[tuple[str, str | None]]:
    """Split words into flags and values; a value without a flag is a pair of its own."""
    flag: str | None = None
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-[0-9.]+", word):
            if flag is not None:
                yield flag, None
            name, equals, value = word.partition("=")
            flag = name.replace("_", "-")
            if equals:
                yield flag, value
                flag = None
        elif flag is None or flag in _SWITCHES or flag == _REMOTE_CODE:
            if flag is not None:
                yield flag, None
            yield word, None
            flag = None
        else:
            yield flag, word
            flag = None
    if flag is not None:
        yield flag, None


def _setting(flag: str, value: str | None) -> tuple[str | None, Any]:
    """Return the ServerArgs field and value of a flag, or None and why it has none."""
    if flag in _SWITCHES:
        if value in (None, "true", "True"):
            return _SWITCHES[flag], True
        return None, "takes no value"
    if flag in _NUMBERS:
        if value is not None and _NUMBER.fullmatch(value):
            return _NUMBERS[flag], int(value)
        return None, "needs a positive whole number"
    if flag in _WORDS:
        if value is not None and _VALUE.fullmatch(value):
            return _WORDS[flag], value
        return None, "needs one plain word"
    return None, "not known to this workflow"
