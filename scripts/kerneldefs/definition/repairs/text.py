"""Repairs of words: reference text, description, tags, constraints and the name."""

from __future__ import annotations

import ast
import re

from kerneldefs.definition import package
from kerneldefs.definition.constraints import names_in
from kerneldefs.definition.draft import Draft, Quarantine, const_axes, copied
from kerneldefs.definition.evidence import Evidence, axis_values
from kerneldefs.definition.naming import definition_name
from kerneldefs.definition.own import reference
from kerneldefs.definition.replaced import REPLACED
from kerneldefs.definition.source import imported, missing_names, nodes, parse, with_constant
from kerneldefs.definition.tags import upstream_tags
from kerneldefs.definition.variants import (
    EPSILON,
    Variant,
    epsilon,
    epsilon_suffix,
    number,
    variants,
)

# What a reference may import; anything else would need more than torch to run.
IMPORTABLE = frozenset({"__future__", "enum", "math", "numpy", "torch", "typing"})
# Tags of FlashInfer that are no word of the dataset (gdn.py, mamba.py, moe.py, rope.py; 0.6.18).
_FOREIGN_TAGS = frozenset({"arch:sm90a", "mamba", "quantize:fp8", "stage:mtp"})
# Modules whose names are used by helpers of other modules' references (0.6.18).
_HELPERS_OF_HELPERS = ("flashinfer.tllm_enums", "flashinfer.trace.templates.quantize")
_EPSILON_TEXT = re.compile(r"(Epsilon (?:is )?fixed at )[0-9.e+-]*[0-9]")


def replace_reference(draft: Draft, evidence: Evidence) -> Draft:
    """Put a reference of ours where FlashInfer's computes something else."""
    result = copied(draft)
    row = REPLACED.get(evidence.prefix)
    if row is not None:
        for key in row.tensors:
            if evidence.of(key).tensor is None:
                raise Quarantine("reference-stand-in", f"{row.cause}; ours needs {key} as a tensor")
        sizes = axis_values(evidence) if row.constants else {}
        constants = {name: sizes[axis] for name, axis in row.constants.items()}
        result["reference"] = reference(row.reference, constants)
    found = [v for v in variants(evidence) if v.reference is not None]
    if found:
        constants = {name: value for v in found for name, value in v.constants.items()}
        result["reference"] = reference(str(found[0].reference), constants)
    return result


def describe_variants(draft: Draft, evidence: Evidence) -> Draft:
    """Say in the description what the name's suffixes stand for."""
    result = copied(draft)
    for variant in variants(evidence):
        result["description"] = _with_sentence(result, variant)
    return result


def _with_sentence(draft: Draft, variant: Variant) -> str:
    text = str(draft.get("description", ""))
    return text if variant.sentence in text else f"{text} {variant.sentence}".strip()


def describe_weights(draft: Draft, evidence: Evidence) -> Draft:
    """Say that weights which a loader shuffles once are declared in their logical order."""
    shuffled = evidence.scalar("use_shuffled_weight") is True or "moe_fp4" in evidence.prefix
    if not shuffled:
        return draft
    result = copied(draft)
    sentence = "Weights and their scales are in logical order, as before the kernel's shuffling."
    result["description"] = _with_sentence(result, Variant("", sentence))
    return result


def set_epsilon(draft: Draft, evidence: Evidence) -> Draft:
    """Write the call's epsilon into the reference, its docstring and the description."""
    value = epsilon(evidence, draft["reference"])
    if value is None:
        return draft
    result = copied(draft)
    text = rf"\g<1>{number(value)}"
    result["reference"] = _EPSILON_TEXT.sub(text, with_constant(draft["reference"], EPSILON, value))
    description = _EPSILON_TEXT.sub(text, draft.get("description", ""))
    if description == draft.get("description", ""):
        description = f"{description} Epsilon is fixed at {number(value)}.".strip()
    result["description"] = description
    return result


def inline_helpers(draft: Draft, evidence: Evidence) -> Draft:
    """Add the functions that a reference calls and does not carry, from the same release."""
    result, source = copied(draft), draft["reference"]
    for _ in range(8):
        missing = sorted(missing_names(source))
        if not missing:
            break
        _require_release(evidence.release, missing)
        found = [_helper(name, evidence.template.module) for name in missing]
        lost = [name for name, text in zip(missing, found, strict=True) if text is None]
        if lost:
            raise Quarantine("reference-names", f"the reference uses {', '.join(lost)}, undefined")
        source = _after_imports(source, [_members(text, source) for text in found if text])
    if missing_names(source):
        raise Quarantine("reference-names", "the reference's helpers never end")
    source = _without_foreign_branches(source)
    foreign = imported(source) - IMPORTABLE
    if foreign:
        raise Quarantine("reference-imports", f"the reference imports {', '.join(sorted(foreign))}")
    result["reference"] = source
    return result


def _helper(name: str, module: str) -> str | None:
    """Return the source of a helper: from the reference's module, else where helpers' own are."""
    found = (package.definition_of(name, place) for place in (module, *_HELPERS_OF_HELPERS))
    return next((text for text in found if text), None)


def _members(text: str, source: str) -> str:
    """Leave out the methods of an enum that the reference does not use: only its members count."""
    node = parse(text).body[-1]
    if not isinstance(node, ast.ClassDef):
        return text
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    used = {n.attr for n in nodes(source) if isinstance(n, ast.Attribute)}
    if not methods or used & {method.name for method in methods}:
        return text
    kept = [n for n in node.body if n not in methods]
    lines = text.splitlines()
    head = lines[: node.lineno]
    return "\n".join([*head, *(f"    {ast.unparse(n)}" for n in kept)])


def _require_release(release: str | None, missing: list[str]) -> None:
    if release is not None and release != package.installed_version():
        raise Quarantine(
            "helpers-release",
            f"the reference needs {', '.join(missing)} of FlashInfer {release}, and "
            f"{package.installed_version() or 'none'} is installed",
        )


def _after_imports(source: str, helpers: list[str]) -> str:
    """Insert helpers after the leading imports; what they need themselves comes before them.

    A constant made of names that are there already comes after those, before the last function.
    """
    late = [text for text in helpers if _uses_names_at_once(text)]
    if late:
        source = _before_last_function(source, late)
    helpers = [text for text in helpers if text not in late]
    if not helpers:
        return source
    last = 0
    for node in parse(source).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            last = node.end_lineno or last
        elif not isinstance(node, ast.Expr):
            break
    lines = source.splitlines()
    body = "\n\n\n".join(helpers)
    rest = "\n".join(lines[last:]).lstrip("\n")
    return "\n".join([*lines[:last], "", "", body, "", "", rest]).lstrip("\n") + "\n"


def _without_foreign_branches(source: str) -> str:
    """Let a branch that imports more than torch raise instead: it never computes something else.

    flashinfer/trace/templates/moe.py (0.6.18) imports a validator where SiTU is asked for.
    """
    for node in nodes(source):
        if not isinstance(node, ast.If) or node.orelse:
            continue
        names = imported(ast.unparse(ast.Module(node.body, []))) - IMPORTABLE
        if names:
            lines, first, last = source.splitlines(), node.body[0], node.body[-1]
            indent = " " * first.col_offset
            lines[first.lineno - 1 : last.end_lineno] = [
                f'{indent}raise NotImplementedError("this needs more than torch")'
            ]
            return _without_foreign_branches("\n".join(lines) + "\n")
    return source


def _uses_names_at_once(text: str) -> bool:
    statement = parse(text).body[-1]
    return isinstance(statement, (ast.Assign, ast.AnnAssign)) and any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        for node in ast.walk(statement.value or statement)
    )


def _before_last_function(source: str, texts: list[str]) -> str:
    function = next(n for n in reversed(parse(source).body) if isinstance(n, ast.FunctionDef))
    line = min([function.lineno, *(d.lineno for d in function.decorator_list)]) - 1
    lines = source.splitlines()
    body = "\n\n\n".join(texts)
    return "\n".join([*lines[:line], body, "", "", *lines[line:]]) + "\n"


# Prefix -> what its axes must fulfil, and the template does not say.
_SWIZZLED = "(({rows} + 127) // 128 * 128) * ((K // 32 + 3) // 4 * 4)"
_FP4_EXPERTS = (
    "num_packed_hidden == hidden_size // 2",
    "num_fp4_hidden_blocks == hidden_size // 16",
    "num_packed_intermediate == gemm1_out_size // 4",
    "num_fp4_intermediate_blocks == gemm1_out_size // 32",
)
CONSTRAINTS: dict[str, tuple[str, ...]] = {
    "bmm_mxfp8": tuple(
        f"{side}_scale_size == batch_size * {_SWIZZLED.format(rows=rows)}"
        for side, rows in (("A", "M"), ("B", "N"))
    ),
    "b12x_fused_moe": _FP4_EXPERTS,
    "b12x_moe_wrapper": _FP4_EXPERTS,
    "cute_dsl_fused_moe_nvfp4": (*_FP4_EXPERTS, "input_width == hidden_size // 2"),
    "cute_dsl_moe_wrapper": (*_FP4_EXPERTS, "input_width == hidden_size // 2"),
    "msa_sparse_decode_attention": ("len_indptr == total_q + 1",),
    "rope_quantize_fp8_append_paged_kv_cache": ("head_dim == rope_dim + no_rope_dim",),
    "gemm_mxfp8": (f"A_scale_size == {_SWIZZLED.format(rows='M')}",),
}


# Prefix -> the scalars with which its constraints above hold.
CONSTRAINED: dict[str, dict[str, int]] = {"msa_sparse_decode_attention": {"seqlen_q": 1}}


def add_constraints(draft: Draft, evidence: Evidence) -> Draft:
    """Add the constraints that a template lacks."""
    for name, value in CONSTRAINED.get(evidence.prefix, {}).items():
        if evidence.scalar(name) != value:
            raise Quarantine("argument-not-modelled", f"{name} is {evidence.scalar(name)}")
    result = copied(draft)
    lacking = [c for c in CONSTRAINTS.get(evidence.prefix, ()) if c not in draft["constraints"]]
    result["constraints"] = [*draft["constraints"], *lacking]
    return result


def drop_constraints(draft: Draft, evidence: Evidence) -> Draft:
    """Keep constraints that parse and name nothing but axes and inputs."""
    known = {*draft["axes"], *draft["inputs"]}
    result = copied(draft)
    result["constraints"] = [
        text for text in draft["constraints"] if (names_in(text) or {"?"}) <= known
    ]
    return result


def set_tags(draft: Draft, evidence: Evidence) -> Draft:
    """Name public API paths, and claim nothing verified that this project did not verify."""
    result = copied(draft)
    result["tags"] = [t for t in upstream_tags(draft["tags"]) if t not in _FOREIGN_TAGS]
    return result


def set_name(draft: Draft, evidence: Evidence) -> Draft:
    """Build the name from the template's rule, the true axes and the variants."""
    result = copied(draft)
    suffixes = [variant.suffix for variant in variants(evidence)]
    fixed = epsilon_suffix(draft["reference"])
    if fixed is not None:
        suffixes.append(fixed)
    result["name"] = definition_name(evidence.template, const_axes(draft), suffixes)
    return result
