"""A model's real weights: checked before a GPU is asked for them, and linked beside its config.

With `load_format=auto` no layer is left out: what SGLang does with weights of layers that a config
does not have differs from model to model, and some of its loaders fail on them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from kerneldefs.capture.engine.failures import MEMORY
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

SUFFIX = ".safetensors"
INDEX = "model.safetensors.index.json"
_ROOM = 0.1  # of a GPU's memory: for a KV cache, and for weights that every rank holds whole
_MOST = 0.88  # mem_fraction_static: more leaves kernels too little
_INSTEAD = "fetch it again, or use load_format=dummy"


@dataclasses.dataclass(frozen=True)
class Weights:
    """A folder's weights: the files that SGLang reads, by name, and their bytes."""

    folder: Path
    files: tuple[str, ...]
    size: int

    def link(self, model: Path) -> None:
        """Link the files into the directory that SGLang is given."""
        for name in self.files:
            (model / name).symlink_to((self.folder / name).resolve())

    def memory(self, total: int, ranks: int) -> tuple[float, float]:
        """Return the least and the best mem_fraction_static on GPUs of `total` bytes.

        Raises KerneldefsError where the weights do not fit on so many ranks. Those that are not
        split over ranks (norms; attention, with data parallel attention) are in the margin.
        """
        share = self.size / ranks / total
        least, best = share + _ROOM / 2, max(MEMORY, share + _ROOM)
        if least > _MOST:
            raise KerneldefsError(
                f"the weights take {self.size / ranks / 2**30:.0f} GiB on each of {ranks} GPUs "
                f"({self.size / 2**30:.0f} GiB in {self.folder}), and a GPU has "
                f"{total / 2**30:.0f} GiB; use a larger tp, a GPU with more memory, or "
                "load_format=dummy"
            )
        return round(least, 2), round(min(best, _MOST), 2)


def read_weights(folder: Path) -> Weights:
    """Return the weights in a folder, all of them.

    Raises KerneldefsError where there are none, where a file that the index names is missing, and
    where a file is cut off or holds something else, such as Git LFS's pointer to it.
    """
    index = folder / INDEX
    names = _indexed(index) if index.is_file() else None
    found = sorted(path.name for path in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not found:
        raise KerneldefsError(
            f"{folder}: holds no weights (*{SUFFIX}), and load_format=auto reads them; put them "
            "there, or use load_format=dummy"
        )
    missing = sorted(set(names or ()) - set(found))
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise KerneldefsError(
            f"{folder}: {INDEX} names {', '.join(missing[:3])}{more}, and there is no such file; "
            f"{_INSTEAD}"
        )
    for name in names or found:
        _check(folder / name, (names or {}).get(name, set()))
    files = sorted(names or found)
    size = sum((folder / name).stat().st_size for name in files)
    return Weights(folder, (*files, *((INDEX,) if names else ())), size)


def _indexed(index: Path) -> dict[str, set[str]]:
    """Return the tensors of each file that an index names."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise KerneldefsError(f"{index}: has no weight_map; {_INSTEAD}")
    files: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        files.setdefault(str(name), set()).add(tensor)
    return files


def _check(path: Path, tensors: set[str]) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stream:  # reads the header alone
            lacks = tensors - set(stream.keys())
    except (SafetensorError, OSError) as error:
        raise KerneldefsError(
            f"{path}: is cut off, or no {SUFFIX} file ({error}); {_INSTEAD}"
        ) from None
    if lacks:
        raise KerneldefsError(f"{path}: lacks {min(lacks)}, which {INDEX} says it has; {_INSTEAD}")


def check_same_model(planned: dict[str, Any], weights: dict[str, Any], whose: str) -> None:
    """Refuse weights whose config.json has other sizes than the one that was planned with.

    A bundled config, or one of a package, is not the repository's own file.
    """
    different = [
        f"{key} {weights[key]} where {planned[key]} was planned with"
        for key in sorted(planned.keys() & weights.keys())
        if type(planned[key]) is int and planned[key] != weights[key] and not key.endswith("_id")
    ]
    if different:
        raise KerneldefsError(
            f"{whose}: its config.json says {'; '.join(different[:3])}; give revision=main, or the "
            "directory with config and weights as hf_repo_id"
        )
