"""One way to serve a model: everything that changes which kernels are called, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json


@dataclasses.dataclass(frozen=True)
class Source:
    """A cookbook entry that asked for a config; several entries may ask for the same one."""

    cookbook: str  # file and cookbook version, e.g. "v0.5.6/kimi-k2.yaml"; "none" without an entry
    hardware: str  # the cookbook's own name, e.g. "H200"
    entry: str  # configuration name, e.g. "high-throughput-ep"


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """A serving config, built once when the cookbook is expanded and passed on as JSON.

    `ep` is 1 without expert parallelism. `attention_backend` is None for SGLang's own choice.
    `arguments` holds further SGLang server arguments by their ServerArgs field name.
    """

    id: str
    model: str  # slug, e.g. "kimi-k2-instruct"; names the results folder
    repo_id: str
    revision: str  # of the model repository; "bundled" for a config that this project ships
    model_config_sha256: str
    arch: str  # "sm_80", "sm_90", "sm_100", "sm_103", "sm_120"
    hardware: str  # first hardware that asked for it, e.g. "H200"
    gpus_per_node: int
    tp: int
    dp: int
    ep: int
    enable_dp_attention: bool
    quantization: str  # what config.json says, e.g. "fp8"; "none" for unquantized weights
    kv_cache_dtype: str  # "auto" unless asked for
    page_size: int | None
    attention_backend: str | None
    moe_runner_backend: str | None
    trust_remote_code: bool
    arguments: dict[str, Any]
    sources: tuple[Source, ...]
    notes: tuple[str, ...]  # what was dropped, ignored or found to differ, a sentence each

    @property
    def on_one_node(self) -> bool:
        """Whether one node of the hardware has a GPU for each rank."""
        return self.tp <= self.gpus_per_node

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, stable in order."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> ServingConfig:
        """Build from `to_json` data; unknown or missing fields are an error."""
        fields = {field.name for field in dataclasses.fields(ServingConfig)}
        if set(data) != fields:
            off = ", ".join(sorted(set(data) ^ fields))
            raise KerneldefsError(f"serving config has missing or unknown fields: {off}")
        return ServingConfig(
            **{
                **data,
                "sources": tuple(Source(**source) for source in data["sources"]),
                "notes": tuple(data["notes"]),
            }
        )

    @staticmethod
    def load(path: Path) -> ServingConfig:
        """Read a config written by the expand stage."""
        return ServingConfig.from_json(read_json(path))
