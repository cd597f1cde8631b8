"""Values of a YAML file that know where they stand, so that a wrong type can be named by place."""

from __future__ import annotations

import dataclasses
from typing import Any

from kerneldefs.errors import KerneldefsError


@dataclasses.dataclass(frozen=True)
class Place:
    """A value and its place, e.g. `v0.5.6/kimi-k2.yaml: families[0].models[1].name`."""

    data: Any
    place: str

    def fail(self, wanted: str) -> KerneldefsError:
        """Return the error that says what was wanted here and what stands here."""
        kind = "nothing" if self.data is None else f"{type(self.data).__name__} {self.data!r:.40}"
        return KerneldefsError(f"{self.place}: expected {wanted}, found {kind}")

    def mapping(self) -> Mapping:
        """Return the value as a mapping, or raise."""
        if not isinstance(self.data, dict):
            raise self.fail("a mapping")
        return Mapping(self.data, self.place)

    def items(self) -> list[Place]:
        """Return the value's items, for a list, or raise."""
        if not isinstance(self.data, list):
            raise self.fail("a list")
        return [Place(item, f"{self.place}[{i}]") for i, item in enumerate(self.data)]

    def text(self) -> str:
        """Return the value as a non-empty string, or raise."""
        if not isinstance(self.data, str) or not self.data.strip():
            raise self.fail("a string")
        return self.data

    def word(self) -> str:
        """Return a string, or a number that was written without quotes, as a string."""
        if isinstance(self.data, bool) or not isinstance(self.data, str | int | float):
            raise self.fail("a string")
        return str(self.data)

    def size(self) -> int:
        """Return the value as a positive whole number, or raise."""
        if isinstance(self.data, bool) or not isinstance(self.data, int) or self.data < 1:
            raise self.fail("a positive whole number")
        return self.data

    def flag(self) -> bool:
        """Return the value as true or false, or raise."""
        if not isinstance(self.data, bool):
            raise self.fail("true or false")
        return self.data


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A mapping and its place."""

    data: dict[Any, Any]
    place: str

    def get(self, key: str) -> Place:
        """Return the value of a key, None where it is missing."""
        before = f"{self.place}." if ": " in self.place else f"{self.place}: "
        return Place(self.data.get(key), f"{before}{key}")

    def maybe(self, key: str) -> Place | None:
        """Return the value of a key, or None where it is missing or null."""
        value = self.get(key)
        return None if value.data is None else value

    def members(self) -> list[tuple[str, Place]]:
        """Return keys and values in the file's order."""
        return [(str(key), self.get(key)) for key in self.data]
