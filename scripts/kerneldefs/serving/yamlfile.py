"""Reading YAML that others wrote: safe tags, no duplicate keys, no bombs, errors with a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kerneldefs.errors import KerneldefsError

MAX_BYTES = 1_000_000
MAX_ALIASES = 100  # the published cookbook has 11 in a file
MAX_DEPTH = 40
MAX_VALUES = 200_000  # counted with every alias written out

# libyaml's parser is ten times as fast; without it the same YAML is read, slowly.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: Path, name: str | None = None) -> Any:
    """Read one YAML document from a file; `name` is what errors call it (default: its path).

    Raises KerneldefsError for a missing, too large, non-UTF-8 or broken file, for a duplicate key,
    an unsafe tag, and for aliases that would blow a small file up.
    """
    where = name or str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise KerneldefsError(f"{where}: no such file") from None
    except OSError as error:
        raise KerneldefsError(f"{where}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise KerneldefsError(f"{where}: larger than {MAX_BYTES} bytes; split the file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise KerneldefsError(
            f"{where}: not UTF-8 at byte {error.start}; save the file as UTF-8"
        ) from None
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> Any:
    """Parse one YAML document of plain data; raises KerneldefsError as `load_yaml` does."""
    try:
        _check_events(text, where)
        node = yaml.compose(text, Loader=_LOADER)
        if node is None:
            return None
        _expanded_size(node, where, {}, set())
        return _LOADER("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "broken"
        raise KerneldefsError(f"{where}{line}: not valid YAML ({problem})") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise KerneldefsError(f"{where}: not valid YAML ({reason})") from None
    except RecursionError:
        raise KerneldefsError(f"{where}: nested too deeply") from None


def _check_events(text: str, where: str) -> None:
    """Bound aliases and depth on the event stream, which neither recurses nor expands."""
    aliases = depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if aliases > MAX_ALIASES or depth > MAX_DEPTH:
            what = f"more than {MAX_ALIASES} aliases" if depth <= MAX_DEPTH else "nested too deeply"
            raise KerneldefsError(f"{_place(event, where)}: {what}")


def _expanded_size(node: yaml.Node, where: str, sizes: dict[int, int], open_: set[int]) -> int:
    """Count a node's values with aliases written out; checks keys on the way."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in open_:
        raise KerneldefsError(f"{_place(node, where)}: an alias stands inside what it names")
    open_.add(id(node))
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, where)
        children = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    size = 1 + sum(_expanded_size(child, where, sizes, open_) for child in children)
    if size > MAX_VALUES:
        what = f"more than {MAX_VALUES} values once aliases are expanded"
        raise KerneldefsError(f"{_place(node, where)}: {what}")
    open_.discard(id(node))
    sizes[id(node)] = size
    return size


def _place(node: yaml.Node | yaml.Event, where: str) -> str:
    return f"{where}:{node.start_mark.line + 1}" if node.start_mark else where


def _check_keys(node: yaml.MappingNode, where: str) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        place = _place(key, where)
        if not isinstance(key, yaml.ScalarNode):
            raise KerneldefsError(f"{place}: a key must be a plain word")
        if key.value in seen:
            raise KerneldefsError(f"{place}: key '{key.value}' stands twice in one mapping")
        seen.add(key.value)
