"""Refusals told from failures, with a sentence."""

from kerneldefs.capture import refusal


def raised(kind, text, *path):
    return {"type": kind, "text": text, "files": ["/x/" + "/".join(path)], "line": "", "lineno": 1}


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
