"""Real weights: what is missing is said before a GPU is asked; SGLang's loader finds them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.capture.engine import session
from kerneldefs.capture.engine.backend import EngineOptions, capture
from kerneldefs.capture.engine.weights import INDEX, Weights, check_same_model, read_weights
from kerneldefs.errors import KerneldefsError
from safetensors.numpy import save_file

from .test_session import config

GIB = 1 << 30


def write_weights(folder: Path) -> Path:
    """Two files and their index, as the hub has them; a third file that the index leaves out."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"model-00001-of-00002.safetensors": "a", "model-00002-of-00002.safetensors": "b"}
    for name, tensor in (names | {"consolidated.safetensors": "c"}).items():
        save_file({tensor: np.ones((4, 4), np.float32)}, folder / name)
    text = json.dumps({"weight_map": {tensor: name for name, tensor in names.items()}})
    (folder / INDEX).write_text(text)
    (folder / "config.json").write_text('{"num_hidden_layers": 4}')
    return folder


def test_the_files_of_the_index_are_linked_beside_the_config(tmp_path: Path):
    found = read_weights(write_weights(tmp_path / "published"))
    model = tmp_path / "model"
    model.mkdir()
    found.link(model)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", INDEX]
    assert sorted(path.name for path in model.iterdir()) == files
    assert all(path.is_symlink() and path.is_file() for path in model.iterdir())
    assert found.size == sum((tmp_path / "published" / name).stat().st_size for name in files[:2])


def test_one_file_needs_no_index(tmp_path: Path):
    save_file({"a": np.ones(4, np.float32)}, tmp_path / "model.safetensors")
    assert read_weights(tmp_path).files == ("model.safetensors",)


def test_a_folder_without_weights(tmp_path: Path):
    with pytest.raises(KerneldefsError, match=r"holds no weights .* use load_format=dummy"):
        read_weights(tmp_path)
    with pytest.raises(KerneldefsError, match="holds no weights"):
        read_weights(tmp_path / "absent")


def test_a_file_that_the_index_names_is_missing(tmp_path: Path):
    (write_weights(tmp_path) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(KerneldefsError, match=r"names model-00002-of-00002.safetensors, and there"):
        read_weights(tmp_path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", None])
def test_a_file_that_is_cut_off_or_a_pointer(tmp_path: Path, content: bytes | None):
    path = write_weights(tmp_path) / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-8] if content is None else content)
    with pytest.raises(KerneldefsError, match=r"00001-of-00002.safetensors: is cut off, or no"):
        read_weights(tmp_path)


def test_a_file_without_a_tensor_that_the_index_puts_there(tmp_path: Path):
    (write_weights(tmp_path) / INDEX).write_text(
        '{"weight_map": {"a": "model-00001-of-00002.safetensors",'
        ' "z": "model-00001-of-00002.safetensors"}}'
    )
    with pytest.raises(KerneldefsError, match=r"lacks z, which model.safetensors.index.json says"):
        read_weights(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", '{"weight_map": []}'])
def test_a_broken_index(tmp_path: Path, text: str):
    (write_weights(tmp_path) / INDEX).write_text(text)
    with pytest.raises(KerneldefsError, match=INDEX):
        read_weights(tmp_path)


def test_memory_is_that_of_the_weights(tmp_path: Path):
    weights = Weights(tmp_path, (), 140 * GIB)
    assert weights.memory(80 * GIB, 8) == (0.27, 0.5)  # 17.5 GiB each: the usual half is enough
    assert weights.memory(80 * GIB, 4) == (0.49, 0.54)
    with pytest.raises(KerneldefsError, match=r"take 70 GiB on each of 2 GPUs .* has 80 GiB"):
        weights.memory(80 * GIB, 2)


@given(st.integers(1, 4000 * GIB), st.integers(8 * GIB, 288 * GIB), st.integers(1, 16))
def test_memory_leaves_room_or_is_refused(size: int, total: int, ranks: int):
    try:
        least, best = Weights(Path("w"), (), size).memory(total, ranks)
    except KerneldefsError:
        assert size / ranks / total > 0.8
    else:
        assert size / ranks / total < least <= best <= 0.88


def test_layers_cannot_be_left_out_of_real_weights(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(session, "available", lambda config: [])
    chosen = EngineOptions(weights=write_weights(tmp_path), layers=2)
    with pytest.raises(KerneldefsError, match="--layers leaves layers out"):
        capture(config(), tmp_path, tmp_path / "folder", tmp_path / "out", chosen)


def test_weights_of_another_model():
    planned = {"num_hidden_layers": 61, "hidden_size": 8, "bos_token_id": 1, "theta": 1.0}
    check_same_model(planned, {**planned, "bos_token_id": 2, "theta": 2.0, "new": 1}, "o/m")
    with pytest.raises(KerneldefsError, match=r"o/m: .* num_hidden_layers 4 where 61 was planned"):
        check_same_model(planned, {"num_hidden_layers": 4}, "o/m")


@pytest.mark.slow
def test_sglang_loads_what_was_linked(tmp_path: Path):
    """SGLang's own loader, on a processor: the files of the index and no other."""
    found = read_weights(write_weights(tmp_path / "published"))
    model = tmp_path / "model"
    model.mkdir()
    found.link(model)
    code = f"""
import sys
sys.path.insert(0, "scripts")
from kerneldefs.capture.simulate.pretence import pretence
pretence("sm_90").import_common()
from sglang.srt.configs.load_config import LoadConfig, LoadFormat
from sglang.srt.model_loader import loader
loader.get_server_args = lambda: None
found = loader.DefaultModelLoader(LoadConfig(load_format=LoadFormat.AUTO))
folder, files, safe = found._prepare_weights({str(model)!r}, None, False)
from safetensors import safe_open
names = sorted(key for file in files for key in safe_open(file, "np").keys())
print("loaded", safe, len(files), names)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "loaded True 2 ['a', 'b']" in done.stdout, done.stdout + done.stderr
