"""What a pull request says of a model: what was captured, how, and with which releases."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.page.plots import layout_of

# Op type prefix -> what the coverage document calls the mechanism.
_MECHANISMS = {
    "mla": "MLA",
    "dsa": "DSA",
    "gqa": "GQA",
    "gdn": "GDN",
    "mamba": "Mamba2",
    "kda": "KDA",
}


@dataclasses.dataclass(frozen=True)
class Model:
    """A model's report, in the words of a pull request."""

    slug: str
    report: Mapping[str, Any]

    @property
    def repo_ids(self) -> list[str]:
        """Return the repositories with their revisions, and which config.json was read."""
        return sorted(
            {
                f"{config['repo_id']} ({config['revision']}, config.json with sha256 "
                f"{config['model_config_sha256'][:16]})"
                for config in self.report["configs"].values()
            }
        )

    @property
    def title(self) -> str:
        """Return the model's name as people write it."""
        names = [repo.partition(" ")[0].rpartition("/")[2] for repo in self.repo_ids]
        return names[0].replace("-", " ") if names else self.slug

    @property
    def layers(self) -> int:
        """Return how many decoder layers the model has; 0 where no capture says so."""
        return max(
            (c.get("layers", {}).get("of", 0) for c in self.report["captures"].values()), default=0
        )

    @property
    def architecture(self) -> str:
        """Return the attention and MLP of the model, e.g. `MLA + MoE`."""
        families = {item["op_type"] for item in self.report["definitions"]}
        families |= {item["op_type"] for item in self.report["existing"]}
        kinds = [
            word
            for prefix, word in _MECHANISMS.items()
            if any(f.startswith(prefix) for f in families)
        ]
        return " + ".join([*kinds, "MoE" if "moe" in families else "Dense"])

    @property
    def layouts(self) -> list[str]:
        """Return how the serving configs split the model."""
        return sorted({layout_of(config) for config in self.report["configs"].values()})

    def releases(self, configs: Iterable[str]) -> list[str]:
        """Return the releases that captured these configs; a commit where the release names one."""
        found: dict[str, set[str]] = {}
        for config in configs:
            versions = self.report["captures"].get(config, {}).get("versions", {})
            for name, version in versions.items():
                found.setdefault(name, set()).add(version)
        return [
            f"{name} {version}{_commit(name, version)}"
            for name in ("sglang", "flashinfer-python", "sglang-kernel", "torch")
            for version in sorted(found.get(name, ()))
        ]


def _commit(name: str, version: str) -> str:
    """Return the commit that a release was made of, where it is installed here and says so."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    if distribution.version != version:
        return ""
    for file in distribution.files or ():
        if Path(file).name in ("_build_meta.py", "_version.py"):
            text = Path(str(distribution.locate_file(file))).read_text(encoding="utf-8")
            match = re.search(r"\b([0-9a-f]{40})\b", text)
            if match:
                return f" (commit {match[1]})"
    return ""
