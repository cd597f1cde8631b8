"""Made-up operators with the defects that the repairs are for, one by one or together."""

from __future__ import annotations

from collections.abc import Callable

from kerneldefs.capture.record import Axis

from .calls import BF16, fact
from .made import Made, scalar, tensor


def literal_axis(made: Made) -> None:
    made.inputs["pair"] = tensor("n", "2")
    made.tensors["pair"] = fact(BF16, 3, 2)


def workspace(made: Made) -> None:
    made.axes["w"] = Axis(False, None, None)
    made.inputs["workspace_buffer"] = tensor("w")
    made.tensors["workspace_buffer"] = fact("int8", 64)


def left_out(made: Made) -> None:
    made.inputs["bias"] = tensor("d", dtype="unknown", optional=True)
    made.axes["unused"] = Axis(False, None, None)


def repeated_axis(made: Made) -> None:
    made.axes["top_k"] = Axis(True, "topk", None)
    made.inputs["top_k"] = scalar("int32")
    made.scalars["top_k"] = 4


def flag(made: Made) -> None:
    made.inputs["is_causal"] = scalar("bool")
    made.scalars["is_causal"] = True


def ignored(made: Made) -> None:
    made.inputs["k_scale"] = scalar("float32")
    made.scalars["k_scale"] = 1.0


def unknown_dtype(made: Made) -> None:
    made.inputs["indices"] = tensor("n", dtype="unknown")
    made.tensors["indices"] = fact("int32", 3)


def packed(made: Made) -> None:
    made.inputs["codes"] = tensor("n", "d", dtype="uint8")
    made.tensors["codes"] = fact("uint8", 3, 8)


def unreturned(made: Made) -> None:
    made.outputs["lse"] = tensor("n", optional=True)


def in_place(made: Made) -> None:
    made.outputs = {"x": made.outputs.pop("out"), **made.outputs}


def other_dtype(made: Made) -> None:
    made.results = (fact("float16", 3, 8), *made.results[1:])


def other_epsilon(made: Made) -> None:
    made.reference = made.reference.replace("    return", "    EPS = 1e-6\n    return")
    made.scalars["eps"] = 1e-5


def lost_constraint(made: Made) -> None:
    made.constraints = ["n > 0", "nowhere == 1", "d ==", "d % 8 == 0"]


def lacking_constraint(made: Made) -> None:
    made.prefix = "gemm_mxfp8"
    for name, size in (("M", 3), ("K", 8), ("A_scale_size", 512)):
        made.axes[name] = Axis(False, None, None)
        made.inputs[f"of_{name}"] = tensor(name)
        made.tensors[f"of_{name}"] = fact(BF16, size)


def shuffled(made: Made) -> None:
    made.inputs["use_shuffled_weight"] = scalar("bool")
    made.scalars["use_shuffled_weight"] = True


def private_tags(made: Made) -> None:
    made.more["tags"] = ["fi_api:flashinfer.mla._core.trtllm", "status:verified"]


def further_keys(made: Made) -> None:
    made.more |= {"init": "x", "check": "y"}


def output_axis(made: Made) -> None:
    made.axes["d_div_2"] = Axis(False, None, None)
    made.outputs["half"] = tensor("n", "d_div_2")
    made.results = (*made.results, fact(BF16, 3, 4))
    made.reference = made.reference.replace("return x", "return x, x[:, ::2]")


DEFECTS: dict[str, Callable[[Made], None]] = {
    "undeclared-axes": literal_axis,
    "scratch-inputs": workspace,
    "absent-inputs": left_out,
    "unused-axes": left_out,
    "axis-inputs": repeated_axis,
    "flag-inputs": flag,
    "ignored-inputs": ignored,
    "input-dtypes": unknown_dtype,
    "packed": packed,
    "overlapping-outputs": in_place,
    "output-dtypes": other_dtype,
    "epsilon": other_epsilon,
    "constraints": lost_constraint,
    "missing-constraints": lacking_constraint,
    "logical-weights": shuffled,
    "tags": private_tags,
    "extra-keys": further_keys,
    "output-axes": output_axis,
    "unreturned-outputs": unreturned,  # behind those that are returned
}


def operator(defects: set[str]) -> Made:
    """Return an operator with these defects."""
    made = Made("import torch\ndef ref(x):\n    return x\n")
    for defect in DEFECTS:
        if defect in defects:
            DEFECTS[defect](made)
    taken = ", ".join(f"{name}=None" for name in made.inputs if name not in ("x", "k_scale"))
    made.reference = made.reference.replace("ref(x)", f"ref(x, {taken})" if taken else "ref(x)")
    return made
