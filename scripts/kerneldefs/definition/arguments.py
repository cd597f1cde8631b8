"""Arguments that a template says nothing of: which are harmless, and which values are.

Every argument of a call is an input of its template, or listed here, or makes the definition
untrue: a sink, a mask or a scale that the reference never sees computes something else.
"""

from __future__ import annotations

from typing import Any

from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence

# How a kernel runs, where it writes and draws its random numbers, bounds that its tensors repeat:
# never what it computes. An output's dtype is among them because the definition declares it.
HARMLESS = frozenset(
    [
        "backend",
        "bf16q_fp8kv_transform_mode",
        "check_nan",
        "cute_dsl_impl",
        "deterministic",
        "device_support_pdl",
        "enable_pdl",
        "fp32_acc",
        "generator",
        "is_cuda_graph_compatible",
        "is_deterministic",
        "is_var_seq",
        "kv_seq_lens_cpu",
        "launch_with_pdl",
        "load_balance",
        "layout_code",
        "local_num_experts",  # repeats the axis num_local_experts
        "lse",
        "max_kv_len",
        "max_q_len",
        "max_seq_len",
        "multi_ctas_kv_counter_buffer",
        "mma_sm",
        "o_dtype",
        "offset",
        "out",
        "out_dtype",
        "output",
        "output_dtype",
        "pdl",
        "profiler_buffer",
        "q_seq_lens_cpu",
        "return_lse",
        "routing_replay_out",
        "scratchpad",
        "seed",
        "semaphores",
        "skip_all_rows_active_check",  # whether empty rows are looked for (prefill.py, 0.7.2)
        "trigger_completion_at_end",
        "tune_max_num_tokens",
        "use_cp",
        "use_fused_finalize",
        "use_oneshot",
        "use_pdl",
        "use_shuffled_weight",
        "use_tensor_cores",
        "workspace",
        "workspace_buffer",
    ]
)
# Prefix -> arguments that chose this template among the function's; FlashInfer's dispatch has read
# them (flashinfer/trace/templates/moe.py, 0.6.18).
DISPATCHED = {
    "moe_fp4_block_scale": frozenset({"routing_method_type"}),
    "moe_fp8_block_scale": frozenset({"routing_method_type"}),
}

TENSOR = "a tensor"
_NONE: tuple[Any, ...] = (None,)
_ONE: tuple[Any, ...] = (None, 1, 1.0)
_OFF: tuple[Any, ...] = (None, False)

# Argument -> the values with which the call computes what the template's reference does.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "activation_type": (3,),  # ActivationType.Swiglu (flashinfer/tllm_enums.py, 0.6.18)
    "attention_sinks": _NONE,
    "causal": (None, True),  # trtllm_batch_context_with_kv_cache; wrappers' is read from state
    "causal_seqlens_kv_global": _NONE,
    "cp_rank": (None, 0),
    "cp_world": _ONE,
    "cum_seq_lens_q": _NONE,
    "custom_mask": _NONE,
    "do_finalize": (True,),
    "enable_block_sparse_attention": _OFF,
    "enable_dcp": _OFF,
    "filter_apply_order": ("top_k_first",),
    "fp8_quantization_type": (1,),  # Fp8QuantizationType.DeepSeekFp8 (flashinfer/tllm_enums.py)
    "gemm1_lora_delta": _NONE,
    "indices": _NONE,
    "k_scale": _ONE,
    "kv_cache_sf": _NONE,
    "kv_layout": ("HND",),
    "kv_len": _NONE,
    "kv_scale_format": (None, "auto"),
    "logits_soft_cap": (None, 0, 0.0),
    "lse_base": (None, "log2"),  # the references' base, and the order of their axes
    "lse_layout": (None, "NH"),
    "mask": _NONE,
    "max_item_len_ptr": _NONE,
    "norm_topk_prob": (True,),
    "num_fused_shared_experts": (None, 0),
    "nvfp4_4over6": (None, "<_UnsetType>"),  # unset, and off (nvfp4_quantization_utils.py, 0.7.2)
    "o_indptr": _NONE,
    "o_scale": _ONE,
    "o_sf_scale": (None, -1, -1.0, 1, 1.0),  # scales FP4 outputs only
    "o_sf_vec_size": _NONE,
    "packed_custom_mask": _NONE,
    "page_table": _NONE,
    "per_token_scale": _NONE,
    "pos_encoding_mode": (None, "NONE"),
    "prefix_len_ptr": _NONE,
    "q_len_per_req": _ONE,
    "q_scale": _ONE,
    "quantize_dtype": (None, "torch.float8_e4m3fn"),  # what the references quantize to
    "return_lse_base_on_e": _OFF,
    "return_valid": _OFF,
    "routing_method_type": (None, 0),  # RoutingMethodType.Default, which single templates compute
    "sinks": _NONE,
    "skip_softmax_threshold_scale_factor": _NONE,
    "sparse_mla_top_k": (None, 0),
    "sparse_mla_top_k_lens": _NONE,
    "token_pos_in_items_ptr": _NONE,
    "use_fp16_qk_reduction": _OFF,
    "use_fp16_softmax": _OFF,
    "uses_shared_paged_kv_idx": (None, True),
    "uses_spcompress": _OFF,
    "v_indptr": _NONE,
    "v_scale": _ONE,
    "weight_layout": (None, 0),  # WeightLayout.MajorK (flashinfer/tllm_enums.py, 0.6.18)
    "window_left": (None, -1),
    # elements of tuples that are all off
    "num_elts_per_sage_attn_blk": (None, 0),
    "sage_attn_sfs": _NONE,
}
# Prefix -> the same for single templates, whose words mean something else elsewhere; a value is
# what the reference does, by its signature or its text (flashinfer/trace/templates/, 0.6.18).
_NHD = {"kv_layout": ("NHD",)}  # the declared axes' order
_BLOCKS = {"scale_granularity_mnk": (1, 128)}  # tokens by 1, weights by 128 x 128
_POD = {
    "causal_d": (False,),  # of one query each
    "kv_layout_d": ("NHD",),
    "kv_layout_p": ("NHD",),
    "pos_encoding_mode_d": ("NONE",),
    "pos_encoding_mode_p": ("NONE",),
    "return_lse_d": (False,),
    "return_lse_p": (False,),
    "window_left_d": (-1,),
    "window_left_p": (-1,),
}
_PLAIN_GATES = {"use_qk_l2norm": (False,)}  # gdn.py normalises nothing
TEMPLATE_NEUTRAL: dict[str, dict[str, tuple[Any, ...]]] = {
    "add_rmsnorm_fp4quant": {"output_both_sf_layouts": (False,)},
    "append_paged_kv_cache": _NHD,
    "b12x_fused_moe": {"activation": ("silu",), "swiglu_alpha": (1.702,), "swiglu_beta": (1.0,)},
    "batch_deepgemm_fp8_nt_groupwise": _BLOCKS,
    "cudnn_batch_prefill": {"batch_offsets_units": ("elements",)},  # of offsets that are not there
    "cutlass_fused_moe": {
        "cluster_rank": (0,),
        "cluster_size": (1,),
        "enable_alltoall": (False,),
        "ep_rank": (0,),
        "ep_size": (1,),
        "min_latency_mode": (False,),
        "swizzled_input_sf": (True,),  # of scales that are not there
        "tp_rank": (0,),
        "tp_size": (1,),
        "use_deepseek_fp8_block_scale": (False,),
        "use_mxfp8_act_scaling": (False,),
        "use_packed_weights": (False,),
        "use_w4_group_scaling": (False,),
        "use_wfp4afp8_humming": (False,),
    },
    "cute_dsl_fused_moe_nvfp4": {"local_expert_offset": (0,)},
    "fp4_quantize": {"is_global_scale_inversed": (False,)},
    "gdn_decode": _PLAIN_GATES,
    "gdn_mtp": _PLAIN_GATES,
    "gdn_prefill_gates": {"checkpoint_every_n_tokens": (0,), "use_qk_l2norm_in_kernel": (False,)},
    "gemm_fp8_nt_groupwise": _BLOCKS,
    "gemm_fp4": {"use_8x4_sf_layout": (False,)},
    "gemm_mxfp8": {"use_8x4_sf_layout": (False,)},
    "grouped_gemm_nt_masked": {
        "is_combine_fusion": (False,),
        "is_swap_ab": (False,),
        "num_ranks": (0,),
    },
    "mono_moe": {
        "interleave_up": (True, False),  # where the kernel's order of rows is made
        "renormalize": (True,),
        "scoring_func": ("softmax",),
    },
    "msa_proxy_score": {"reduce_heads": (False,)},
    "msa_proxy_score_fp4": {"reduce_heads": (False,)},
    "msa_sparse_attention": {
        "lse_temperature_scale": (1.0,),  # of a result that is not asked for
        "return_softmax_lse": (False,),
        "return_temperature_lse": (False,),
    },
    "msa_sparse_decode_attention": {"return_softmax_lse": (False,)},
    "nvfp4_quantize": {"do_shuffle": (False,), "per_token_activation": (False,)},
    "rope_quantize_fp8_append_paged_kv_cache": _NHD,
    "selective_state_update": {
        "algorithm": ("auto", "simple", "vertical", "horizontal"),
        "cache_steps": (0,),
        "disable_state_update": (False,),
        "pad_slot_id": (-1,),  # of slots that are not there
        "philox_rounds": (10,),  # of a random seed that is not there
    },
    "single_decode": _NHD,
    "single_prefill": {**_NHD, "causal": (False, True)},  # variants.py names the causal one
    "top_k_page_table_transform": {"dsa_graph_safe": (False,), "tie_break": (0,)},
    "top_k_varlen": {"compress_ratio": (1,), "next_n": (1,), "return_values": (False,)},
    "trtllm_fmha_v2_prefill": {
        "chunked_attention_size": (0,),
        "save_softmax_stats": (False,),
        "skip_softmax_threshold_scale_factor": (None, 0),
    },
    "pod_run_causal": _POD,
    "pod_run_noncausal": _POD,
    "xqa_mla": {"kv_scale": (1.0,)},
    "xqa": {
        **_NHD,
        "kv_scale": (1.0,),
        "q_seq_len": (1,),
        "rcp_out_scale": (1.0,),
        "sliding_win_size": (0,),
    },
}
# plan() arguments that change what run() computes; the others size buffers and choose kernels.
PLAN_NEUTRAL = (
    "custom_mask",
    "max_item_len_ptr",
    "o_indptr",
    "packed_custom_mask",
    "pos_encoding_mode",
    "prefix_len_ptr",
    "token_pos_in_items_ptr",
    "v_indptr",
)
# Read by variants.py, which names what differs from the template.
VARIANT_ARGUMENTS = frozenset({"eps", "filter_apply_order", "is_causal", "rms_eps"})


def neutral(prefix: str, name: str) -> tuple[Any, ...]:
    """Return the values of an argument with which a template's reference is true."""
    return TEMPLATE_NEUTRAL.get(prefix, {}).get(name) or NEUTRAL.get(name, ())


def require_modelled(evidence: Evidence) -> None:
    """Quarantine a call that passed something its template does not model."""
    call, template = evidence.call, evidence.template
    known = {*template.inputs, *template.axes, *(evidence.param(key) for key in template.inputs)}
    known |= {slot.param or key for key, slot in template.outputs.items()}
    known |= HARMLESS | VARIANT_ARGUMENTS | evidence.understood
    known |= {n for start, names in DISPATCHED.items() if _starts(evidence, start) for n in names}
    for name, value in (*dict.fromkeys(call.tensors, TENSOR).items(), *call.scalars.items()):
        base = name.partition("#")[0]
        if base not in known:
            _require_neutral(evidence, base, value, "argument")
    for name in PLAN_NEUTRAL:
        if call.plan and name in call.plan:
            _require_neutral(evidence, name, call.plan[name], "plan() argument")


def _starts(evidence: Evidence, prefix: str) -> bool:
    return evidence.prefix.startswith(prefix)


def _require_neutral(evidence: Evidence, name: str, value: Any, what: str) -> None:
    allowed = neutral(evidence.prefix, name) or _NONE
    tensor = isinstance(value, dict) or value is TENSOR
    if tensor or not any(value is a or _equal(value, a) for a in allowed):
        shown = TENSOR if tensor else repr(value)
        raise Quarantine(
            "argument-not-modelled",
            f"{evidence.call.op} was called with {what} {name}={shown}, which the template "
            f"{evidence.prefix} does not model",
        )


def _equal(value: Any, allowed: Any) -> bool:
    """Equality that keeps False and 0, and True and 1, apart."""
    return bool(isinstance(value, bool) == isinstance(allowed, bool) and value == allowed)
