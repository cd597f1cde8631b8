"""Refusals told from failures, with a sentence."""

from kerneldefs.capture import refusal


def raised(kind, text, *path):
    return {"type": kind, "text": text, "files": ["/x/" + "/".join(path)], "line": "", "lineno": 1}


def test_a_key_that_config_json_lacks_is_named():
    error = raised(
        "AttributeError",
        "'NemotronHConfig' object has no attribute 'quantization_config'",
        "transformers",
        "configuration_utils.py",
    )
    assert refusal.refuser_of(error["type"], error["files"]) == "transformers"
    assert refusal.sentence_of(error) == (
        "SGLang reads 'quantization_config' of config.json, which this one does not have"
    )


def test_an_attribute_that_is_missing_anywhere_else_is_a_failure():
    assert refusal.refuser_of("AttributeError", ["/x/sglang/srt/layers/linear.py"]) is None
    assert refusal.refuser_of("AttributeError", []) is None


def test_what_sglang_asserts_is_its_refusal_and_what_torch_asserts_is_not():
    assert refusal.refuser_of("AssertionError", ["/x/sglang/srt/a.py"]) == "SGLang"
    assert refusal.refuser_of("AssertionError", ["/x/sglang/srt/a.py", "/x/torch/b.py"]) is None
