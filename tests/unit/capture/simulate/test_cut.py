"""The cut for an engine: a model that the pretended machine cannot build is not served whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kerneldefs.capture.layers import Cut
from kerneldefs.capture.simulate import cut, device, serve
from kerneldefs.errors import KerneldefsError

from ..test_run import CONFIG


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the command is given, on a machine where nothing is pretended."""
    monkeypatch.setattr(cut, "pretence", lambda arch: None)
    monkeypatch.setattr(device, "set_count", lambda gpus: None)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_json()))
    return [tmp_path / "config.json", tmp_path, tmp_path / "cut.json"]


def test_a_cut_is_written(files: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cut, "cut_model", lambda model, load: (Cut(2, 61, 2), None))
    cut.main(*files)
    assert json.loads(files[2].read_text()) == {"kept": 2, "of": 61, "kinds": 2}


@pytest.mark.parametrize("built", [True, False])
def test_layers_that_were_not_told_apart_are_an_error(
    built: bool, files: list[Path], monkeypatch: pytest.MonkeyPatch
):
    def load(*arguments: object) -> None:
        if not built:
            raise RuntimeError("why it fails")

    monkeypatch.setattr(cut, "cut_model", lambda model, load: (Cut(61, 61), None))
    monkeypatch.setattr(serve, "load", load)
    expected = (KerneldefsError, "no list of layers") if built else (RuntimeError, "why it fails")
    with pytest.raises(expected[0], match=expected[1]):
        cut.main(*files)
    assert not files[2].exists()
