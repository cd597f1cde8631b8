"""An engine is watched, ended and judged; a script stands in for SGLang's processes."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest
from kerneldefs.capture.engine import backend, gpus, session
from kerneldefs.capture.engine.places import MARK
from kerneldefs.capture.engine.tree import Tree
from kerneldefs.capture.engine.weights import Weights
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.config import ServingConfig

SCRIPTS = Path(session.__file__).parents[3]
GPU = gpus.Gpu("0", "GPU-aa", "NVIDIA H100", "sm_90", 79 << 30, 80 << 30, ())
FINISHES = """
for rank in range(request["ranks"]):
    where = folder / f"rank{rank}"
    (where / "flashinfer").mkdir(parents=True)
    (where / "flashinfer" / "norm.json").write_text('{"name": "norm"}')
    (where / "calls.jsonl").write_text("")
    (where / "templates.json").write_text("{}")
    (where / "rank.json").write_text(json.dumps(PICKED))
    (where / "finished").write_text("")
(folder / "done.json").write_text('{"load": 1.0, "probe": 1.0}')
"""
PICKED = {"attention_backend": "B", "prefill": "flashinfer", "decode": "flashinfer", "warnings": []}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with two H100s."""
    two = [GPU, gpus.Gpu("1", "GPU-bb", "NVIDIA H100", "sm_90", 79 << 30, 80 << 30, ())]
    monkeypatch.setattr(gpus, "visible", lambda: two)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))


def config(tp: int = 1) -> ServingConfig:
    return ServingConfig(
        id="x", model="m", repo_id="org/m", revision="r", model_config_sha256="0", arch="sm_90",
        hardware="H100", gpus_per_node=8, tp=tp, dp=1, ep=1, enable_dp_attention=False,
        quantization="none", kv_cache_dtype="auto", page_size=None,
        attention_backend="flashinfer", moe_runner_backend=None, trust_remote_code=False,
        arguments={}, sources=(), notes=(),
    )  # fmt: skip


def options(tmp_path: Path, body: str, limit: float = 60.0) -> session.Options:
    """An engine whose process runs `body`, with `folder` and `request` at hand."""
    script = tmp_path / "engine.py"
    script.write_text(
        "import json, os, subprocess, sys, time\nfrom pathlib import Path\n"
        f"PICKED = {PICKED!r}\nfolder = Path(sys.argv[1])\n"
        "request = json.loads((folder / 'request.json').read_text())\n" + textwrap.dedent(body)
    )
    return session.Options(limit=limit, command=(sys.executable, str(script)))


def run(tmp_path: Path, body: str, tp: int = 1, limit: float = 60.0) -> dict[str, Any]:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    return session.capture(config(tp), tmp_path, out, options(tmp_path, body, limit))


def test_a_finished_engine_leaves_its_ranks_and_templates_alone(here, tmp_path):
    found = run(tmp_path, FINISHES, tp=2)
    assert found["ranks"] == [0, 1] and found["only_some_ranks"] == {}
    assert found["hardware"]["gpu"] == "NVIDIA H100" and found["attempts"] == 1
    files = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.json*")}
    assert files == {"templates.json"} | {
        f"rank{n}/{name}" for n in (0, 1) for name in ("calls.jsonl", "flashinfer/norm.json")
    }


def test_two_contents_under_one_name_are_an_error_that_shows_both(here, tmp_path):
    other = "(folder / 'rank1' / 'flashinfer' / 'norm.json').write_text('{\"name\": \"other\"}')"
    with pytest.raises(KerneldefsError, match=r'ranks 0 and 1 .* name: "norm" and "other"'):
        run(tmp_path, FINISHES + other, tp=2)


def test_a_definition_of_some_ranks_is_kept_and_listed(here, tmp_path):
    more = "(folder / 'rank1' / 'flashinfer' / 'only.json').write_text('{}')"
    assert run(tmp_path, FINISHES + more, tp=2)["only_some_ranks"] == {"only": [1]}


def test_a_time_limit_ends_every_process_of_the_engine(here, tmp_path):
    orphan = "import time; time.sleep(600)"
    body = f"""
        subprocess.Popen([sys.executable, '-c', {orphan!r}], start_new_session=True)
        (folder / 'seen').write_text(os.environ['{MARK}'])
        time.sleep(600)
    """
    with pytest.raises(session.Failed, match="not done in 3 s and was ended"):
        run(tmp_path, body, limit=3.0)
    assert Tree((tmp_path / "out" / "seen").read_text()).running() == []


FAILS = [
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "GPU out of memory"),
    ("RuntimeError: Ninja build failed.", "kernel compilation"),
    ("torch.distributed.DistBackendError: NCCL error in: x", "NCCL"),
    ("OSError: [Errno 98] Address already in use", "port in use"),
    ("RuntimeError: Found no NVIDIA driver on your system.", "driver"),
    ("ValueError: please pass --trust-remote-code", "trust_remote_code=true"),
    ("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", "KV cache"),
    ("RuntimeError: Artifact not found: x. FLASHINFER_NO_DOWNLOAD is set", "missing download"),
    ("Rank 0 scheduler died during initialization (exit code: -9)", "grant the job more memory"),
    ("KeyError: 'what'", "unknown"),
]


@pytest.mark.parametrize(("log", "said"), FAILS)
def test_a_failure_becomes_a_sentence(here, tmp_path, log: str, said: str):
    with pytest.raises(session.Failed, match=said):
        run(tmp_path, f"print({log!r}); sys.exit(1)")


def test_out_of_memory_is_tried_once_more_with_less(here, tmp_path):
    body = """
        if request["arguments"]["mem_fraction_static"] == 0.5:
            print("torch.OutOfMemoryError: CUDA out of memory"); sys.exit(1)
    """
    found = run(tmp_path, textwrap.dedent(body) + FINISHES)
    assert found["attempts"] == 2 and found["arguments"]["mem_fraction_static"] == 0.3


def test_too_little_for_the_kv_cache_is_tried_once_more_with_more(here, tmp_path):
    body = """
        if request["arguments"]["mem_fraction_static"] == 0.5:
            print("Not enough memory. Please try to increase --mem-fraction-static."); sys.exit(1)
    """
    found = run(tmp_path, textwrap.dedent(body) + FINISHES)
    assert found["attempts"] == 2 and found["arguments"]["mem_fraction_static"] == 0.88


def test_a_port_in_use_is_tried_once_more_as_it_was(here, tmp_path):
    body = """
        if not (folder.parent / "second").exists():
            (folder.parent / "second").write_text("")
            print("OSError: [Errno 98] Address already in use"); sys.exit(1)
    """
    found = run(tmp_path, textwrap.dedent(body) + FINISHES)
    assert found["attempts"] == 2 and found["arguments"]["mem_fraction_static"] == 0.5


def test_real_weights_decide_about_memory_and_are_loaded(here, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    body = textwrap.dedent("""
        (folder.parent / "asked.json").write_text(json.dumps(request["arguments"]))
        print("torch.OutOfMemoryError: CUDA out of memory"); sys.exit(1)
    """)
    heavy = dataclasses.replace(options(tmp_path, body), weights=Weights(tmp_path, (), 56 << 30))
    with pytest.raises(session.Failed, match="GPU out of memory"):
        session.capture(config(), tmp_path, out, heavy)
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked["load_format"] == "auto"
    assert asked["mem_fraction_static"] == 0.75  # of the second try: 70 % are weights
    huge = dataclasses.replace(heavy, weights=Weights(tmp_path, (), 90 << 30))
    with pytest.raises(KerneldefsError, match="the weights take 90 GiB"):
        session.capture(config(), tmp_path, out, huge)


NOT_STARTED = "raise SystemExit('the engine must not be started')"


def test_a_full_gpu_is_refused_before_an_engine_starts(here, tmp_path, monkeypatch):
    full = dataclasses.replace(GPU, free=10 << 30, processes=(4711,))
    monkeypatch.setattr(gpus, "visible", lambda: [full])
    with pytest.raises(KerneldefsError, match="processes on it: 4711"):
        run(tmp_path, NOT_STARTED)


@pytest.mark.parametrize(("granted", "fits"), [("1", False), ("2", True), ("4", True)])
def test_fewer_gpus_than_tp_that_a_job_was_granted(
    here, tmp_path, monkeypatch, granted: str, fits: bool
):
    monkeypatch.setenv(session.GRANTED, granted)
    if fits:
        assert run(tmp_path, FINISHES, tp=2)["ranks"] == [0, 1]
    else:
        with pytest.raises(KerneldefsError, match="needs 2 GPUs and the job was granted 1"):
            run(tmp_path, NOT_STARTED, tp=2)


def test_an_engine_sees_its_gpu_its_caches_and_no_network(here, tmp_path, monkeypatch):
    monkeypatch.setenv("KERNELDEFS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    saw = "(folder.parent / 'saw.json').write_text(json.dumps(dict(os.environ)))\n"
    out = tmp_path / "out"
    out.mkdir()
    made = dataclasses.replace(options(tmp_path, saw + FINISHES), cubins=tmp_path / "cubins")
    with gpus.reserved([GPU], 1, 0):  # another capture has the first one
        session.capture(config(), tmp_path, out, made)
    saw = json.loads((tmp_path / "saw.json").read_text())
    assert saw["CUDA_VISIBLE_DEVICES"] == "1" and saw["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    switches = ("FLASHINFER_NO_DOWNLOAD", "HF_HUB_OFFLINE", "SGLANG_SKIP_CUBIN_DOWNLOAD")
    assert {saw[name] for name in (*switches, "TRANSFORMERS_OFFLINE")} == {"1"}
    assert saw["FLASHINFER_CUBIN_DIR"] == str(tmp_path / "cubins")
    assert "://" not in saw["FLASHINFER_CUBINS_REPOSITORY"]
    here_alone = str(tmp_path / "cache" / platform.node())
    for name in ("FLASHINFER_WORKSPACE_BASE", "TRITON_CACHE_DIR", "TVM_FFI_CACHE_DIR"):
        assert saw[name].startswith(here_alone) and "flashinfer-python-" in saw[name]


def test_another_attention_backend_than_asked_for_is_an_error(here, tmp_path):
    other = FINISHES.replace("json.dumps(PICKED)", "json.dumps({**PICKED, 'decode': 'triton'})")
    with pytest.raises(
        session.Failed, match=r"asked for .* flashinfer, and SGLang picked .*triton"
    ):
        run(tmp_path, other)


def test_a_rank_that_recorded_nothing_is_named(here, tmp_path):
    with pytest.raises(session.Failed, match="rank 1 recorded nothing"):
        run(tmp_path, FINISHES + "(folder / 'rank1' / 'finished').unlink()", tp=2)


def failure(kind: str, text: str, place: str) -> str:
    data = {"type": kind, "text": text, "files": [place], "line": "", "lineno": 1, "notes": []}
    return (
        "(folder / 'failures').mkdir()\n"
        f"(folder / 'failures' / '1.json').write_text({json.dumps(data)!r})\nsys.exit(1)\n"
    )


def test_sglangs_own_refusal_is_told_from_a_failure(here, tmp_path):
    refusing = failure("ValueError", "Not supported.", "/x/sglang/srt/server_args.py")
    with pytest.raises(session.Refused, match=r"SGLang: Not supported\."):
        run(tmp_path, refusing)
    (tmp_path / "other").mkdir()
    with pytest.raises(session.Failed, match="ValueError: Broken"):
        run(tmp_path / "other", failure("ValueError", "Broken.", "/x/torch/nn/module.py"))


def test_what_a_failed_engine_dumped_is_kept_and_never_complete(here, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 4}')
    body = "(folder / 'rank0').mkdir(); (folder / 'rank0' / 'x').write_text(''); sys.exit(1)"
    made = options(tmp_path, body)
    monkeypatch.setattr(session, "Options", lambda *a: made)
    folder = tmp_path / "work"
    folder.mkdir()
    with pytest.raises(session.Failed):
        chosen = backend.EngineOptions(layers=2)
        backend.capture(config(), tmp_path, folder, tmp_path / "dump", chosen)
    kept = tmp_path / "dump.partial"
    assert (kept / "rank0" / "x").exists()
    assert json.loads((kept / "capture.json").read_text())["status"] == "partial"
    assert not psutil.Process().children(recursive=True)


def test_too_few_gpus_are_said_before_the_model_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "visible", lambda: [])
    with pytest.raises(KerneldefsError, match=r"needs 1 GPU\(s\) of sm_90, and 0 are visible"):
        backend.capture(
            config(), tmp_path / "no model", tmp_path, tmp_path / "out", backend.EngineOptions()
        )
