"""Refusals told from failures, with a sentence."""

from kerneldefs.capture import refusal


def raised(kind, text, *path):
    return {
        "type": kind,
        "text": text,
        "notes": [],
        "files": ["/x/" + "/".join(path)],
        "line": "",
        "lineno": 1,
    }


def refuser(kind, text, *paths):
    return refusal.refuser_of({"type": kind, "text": text, "files": [f"/x/{p}" for p in paths]})


def test_a_key_that_config_json_lacks_is_named():
    error = raised(
        "AttributeError",
        "'NemotronHConfig' object has no attribute 'quantization_config'",
        "transformers",
        "configuration_utils.py",
    )
    assert refusal.refuser_of(error) == "transformers"
    assert refusal.sentence_of(error) == (
        "SGLang reads 'quantization_config' of config.json, which this one does not have"
    )


def test_an_attribute_that_is_missing_anywhere_else_is_a_failure():
    assert refuser("AttributeError", "", "sglang/srt/layers/linear.py") is None
    assert refuser("AttributeError", "") is None


def test_what_sglang_asserts_is_its_refusal_and_what_torch_asserts_is_not():
    assert refuser("AssertionError", "", "sglang/srt/a.py") == "SGLang"
    assert refuser("AssertionError", "", "sglang/srt/a.py", "torch/b.py") is None


def test_an_attention_backend_that_takes_no_sinks_is_a_refusal():
    text = "FlashInferAttnBackend.forward_extend() got an unexpected keyword argument 'sinks'"
    path = ("sglang", "srt", "layers", "attention", "base_attn_backend.py")
    error = raised("TypeError", text, *path)
    assert refusal.refuser_of(error) == "SGLang"
    assert refusal.sentence_of(error) == (
        "FlashInferAttnBackend takes no 'sinks', which the model's attention has"
    )


def test_any_other_wrong_argument_is_a_failure():
    text = "Linear.forward() got an unexpected keyword argument 'sinks'"
    assert refuser("TypeError", text, "sglang/srt/a.py") is None
    text = "FlashInferAttnBackend.forward_extend() got an unexpected keyword argument 'sinks'"
    assert refuser("TypeError", text, "sglang/srt/a.py", "kerneldefs/b.py") is None


def test_what_flashinfer_does_not_take_is_its_refusal():
    text = "fused_topk_deepseek does not support compute capability 80"
    paths = ("sglang/srt/layers/moe/topk.py", "flashinfer/utils.py")
    assert refuser("BackendSupportedError", text, *paths) == "FlashInfer"
    assert refuser("ValueError", "Invalid backend: 80", *paths) == "FlashInfer"
    assert refuser("AttributeError", "'Stub' object has no attribute 'x'", *paths) is None
    assert refuser("AssertionError", "", *paths) is None
    assert refuser("ValueError", "", *paths, "torch/a.py") is None


def test_what_our_own_code_raises_is_never_a_refusal():
    ours = refusal.__file__
    assert (
        refusal.refuser_of({"type": "ValueError", "text": "", "files": ["/x/sglang/a.py", ours]})
        is None
    )


def test_what_sglang_breaks_on_by_its_own_choice_says_what_to_give_it():
    text = "'FusedMoE' object has no attribute 'g1_scale_c'"
    error = raised("AttributeError", text, "torch", "nn", "modules", "module.py")
    assert refusal.refuser_of(error) == "SGLang"
    assert "quantization=modelopt_fp4" in refusal.sentence_of(error)


def test_a_refusal_says_what_was_called():
    error = ValueError("Invalid backend: 80")
    error.add_note("called as flashinfer.fused_moe.core.cutlass_fused_moe")
    assert refusal.sentence_of(refusal.described(error)) == (
        "Invalid backend: 80; called as flashinfer.fused_moe.core.cutlass_fused_moe"
    )
