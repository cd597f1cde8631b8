"""Constraint expressions: parsed, never evaluated here."""

from __future__ import annotations

import ast

FUNCTIONS = frozenset({"all", "any", "len", "max", "min", "sum"})


def names_in(text: str) -> set[str] | None:
    """Return the names that a constraint uses, builtin functions apart; None if it is none."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - FUNCTIONS
