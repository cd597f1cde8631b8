"""Two pictures where looking beats reading: sizes over parallel layouts, and time per stage.

Only geometry is computed here, in SVG user units; templates/plots.svg.j2 draws it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kerneldefs.page.results import PER_CONFIG, Results

_MARGIN, _TITLE, _ROW, _COLUMN, _LEAST_WIDTH = 12, 30, 18, 62, 190
_LABEL = 8  # of a character in a row's label
BAR_WIDTH, BAR_STEP = 360, 22


@dataclasses.dataclass(frozen=True)
class Panel:
    """Which sizes an axis of a family has: a row for each size, a column for each layout.

    `rows` and `columns` are positions with their labels, `dots` positions with what they mean.
    """

    title: str
    width: int
    height: int
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]
    dots: tuple[tuple[float, float, str], ...]


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
    """Return a panel for each constant axis whose sizes are not the same in every layout.

    An axis that is another one times or divided by a number has none: it says the same.
    """
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
    for family in {family for family, _ in varying}:
        for axis in _followers(results, family):
            varying.pop((family, axis), None)
    return [_panel(f"{f}: {axis}", layouts, found) for (f, axis), found in varying.items()]


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


def _followers(results: Results, family: str) -> set[str]:
    """Return the axes of a family that an axis before them determines, as blocks do of a size."""
    definitions = results.definitions.values()
    sizes = [dict(_constants(one)) for one in definitions if one["op_type"] == family]
    followers: set[str] = set()
    names = list(dict.fromkeys(name for one in sizes for name in one))
    for index, name in enumerate(names):
        for leader in names[:index]:
            pairs = {(one[leader], one[name]) for one in sizes if leader in one and name in one}
            if leader not in followers and _proportional(pairs):
                followers.add(name)
    return followers


def _proportional(pairs: set[tuple[int, int]]) -> bool:
    """Whether (leader, follower) pairs are multiples, or blocks of one size in what they cover."""
    leaders, followers = (set(sizes) for sizes in zip(*pairs, strict=True)) if pairs else ((), ())
    if len(leaders) < max(2, len(followers)) or len({one >= other for one, other in pairs}) > 1:
        return False
    ordered = [sorted(pair, reverse=True) for pair in pairs]
    blocks = {round(more / less) for more, less in ordered if less}
    return any(all(-(-more // block) == less for more, less in ordered) for block in blocks)


def _panel(title: str, layouts: list[str], found: Mapping[str, set[int]]) -> Panel:
    sizes = sorted({size for values in found.values() for size in values}, reverse=True)
    left = _MARGIN + _LABEL * len(str(sizes[0]))
    y_of = {size: _TITLE + _ROW * (index + 0.5) for index, size in enumerate(sizes)}
    x_of = {layout: left + _COLUMN * (index + 0.5) for index, layout in enumerate(layouts)}
    return Panel(
        title=title,
        width=max(_LEAST_WIDTH, left + _COLUMN * len(layouts) + _MARGIN),
        height=_TITLE + _ROW * (len(sizes) + 1) + _MARGIN,
        rows=tuple((y, str(size)) for size, y in y_of.items()),
        columns=tuple((x, layout) for layout, x in x_of.items()),
        dots=tuple(
            (x_of[layout], y_of[size], f"{layout}: {size}")
            for layout in layouts
            for size in sorted(found.get(layout, ()))
        ),
    )
