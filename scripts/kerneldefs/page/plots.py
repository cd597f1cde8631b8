"""Two pictures where looking beats reading: sizes over parallel layouts, and time per stage.

Only geometry is computed here, in SVG user units; templates/plots.svg.j2 draws it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from kerneldefs.page.results import PER_CONFIG, Results

PANEL_WIDTH, PANEL_HEIGHT = 230, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 24, 24, 34, 28
BAR_WIDTH, BAR_STEP = 360, 22
_MOST_PANELS = 12  # the rest is in the definitions' tables


@dataclasses.dataclass(frozen=True)
class Dot:
    """One value of an axis at one layout."""

    x: float
    y: float
    value: int


@dataclasses.dataclass(frozen=True)
class Panel:
    """How one axis of a family varies; there is a guide line at each size."""

    title: str
    dots: tuple[Dot, ...]
    guides: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclasses.dataclass(frozen=True)
class Bar:
    """One serving config's jobs, end to end: (stage, x, width, seconds)."""

    label: str
    y: int
    parts: tuple[tuple[str, float, float, float], ...]
    total: float


def layout_of(config: Mapping[str, Any]) -> str:
    """Return how a serving config splits the model, e.g. `TP8 EP4` or `TP8 DP4`."""
    words = [f"TP{config['tp']}"]
    words += [f"DP{config['dp']}"] if config["enable_dp_attention"] else []
    words += [f"EP{config['ep']}"] if config["ep"] > 1 else []
    return " ".join(words)


def size_panels(results: Results) -> list[Panel]:
    """Return a panel for each constant axis whose sizes are not the same in every layout."""
    configs = results.report["configs"]
    order = sorted(configs, key=lambda name: _split(configs[name]))
    layouts = list(dict.fromkeys(layout_of(configs[name]) for name in order))
    values: dict[tuple[str, str], dict[str, set[int]]] = {}
    for item in results.report["definitions"]:
        for axis, size in _constants(results.definitions.get(item["name"], {})):
            by_layout = values.setdefault((item["op_type"], axis), {})
            for config in item["configs"]:
                if config in configs:
                    by_layout.setdefault(layout_of(configs[config]), set()).add(size)
    varying = {key: found for key, found in sorted(values.items()) if _varies(found)}
    panels = [_panel(f"{f}: {axis}", layouts, found) for (f, axis), found in varying.items()]
    return panels[:_MOST_PANELS]


def time_bars(results: Results) -> list[Bar]:
    """Return a bar for each serving config, the slowest first."""
    rows = {}
    for config in results.report["configs"]:
        parts = [(rule, results.seconds.get((rule, config), 0.0)) for rule in PER_CONFIG]
        if any(seconds for _, seconds in parts):
            rows[config] = parts
    longest = max((sum(s for _, s in parts) for parts in rows.values()), default=1.0) or 1.0
    bars: list[Bar] = []
    for config in sorted(rows, key=lambda name: (-sum(s for _, s in rows[name]), name)):
        x, drawn = 0.0, []
        for rule, seconds in rows[config]:
            width = BAR_WIDTH * seconds / longest
            drawn.append((rule, round(x, 1), round(width, 1), seconds))
            x += width
        total = sum(seconds for _, seconds in rows[config])
        bars.append(Bar(config, len(bars) * BAR_STEP, tuple(drawn), total))
    return bars


def _split(config: Mapping[str, Any]) -> tuple[int, int, int, bool]:
    return config["tp"], config["ep"], config["dp"], config["enable_dp_attention"]


def _constants(definition: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    for name, axis in definition.get("axes", {}).items():
        if axis["type"] == "const" and isinstance(axis.get("value"), int):
            yield name, axis["value"]


def _varies(found: Mapping[str, set[int]]) -> bool:
    """Whether two layouts have different sizes; a family that a layout lacks says nothing."""
    return len({tuple(sorted(sizes)) for sizes in found.values()}) > 1


def _panel(title: str, layouts: list[str], found: Mapping[str, set[int]]) -> Panel:
    sizes = sorted({size for values in found.values() for size in values})
    low, high = math.log2(sizes[0]), math.log2(sizes[-1])
    room, tall = PANEL_WIDTH - _LEFT - _RIGHT, PANEL_HEIGHT - _TOP - _BOTTOM

    def x_of(index: int) -> float:
        return round(_LEFT + room * (index + 0.5) / len(layouts), 1)

    def y_of(size: int) -> float:
        return round(_TOP + tall * (high - math.log2(size)) / (high - low), 1)

    dots = [
        Dot(x_of(index), y_of(size), size)
        for index, layout in enumerate(layouts)
        for size in sorted(found.get(layout, ()))
    ]
    ticks = tuple((x_of(index), layout) for index, layout in enumerate(layouts))
    return Panel(title, tuple(dots), tuple(y_of(size) for size in sizes), ticks)
