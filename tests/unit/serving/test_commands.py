"""scripts/expand.py and scripts/fetch.py as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.serving.settings import ROOT

from .make import MOE, write_model


def command(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *words], capture_output=True, text=True
    )


def test_expand_prints_a_table() -> None:
    done = command("expand.py", "model=kimi-k2", "tp_list=4,8", "hardware=H200", "ep_list=")
    assert done.returncode == 0, done.stderr
    assert "kimi-k2-instruct  (moonshotai/Kimi-K2-Instruct at bundled)" in done.stdout
    row = "h200-tp4-ep4-fp8-flashinfer  sm_90  4   1   4   H200 high-throughput-ep"
    assert row in done.stdout
    dropped = "  dropped: v0.5.21/kimi-k2.yaml B200 default: hardware B200 is not asked for\n"
    assert dropped in done.stdout
    assert done.stdout.endswith("12 serving configs of 1 models\n")


def test_expand_prints_notes_with_their_configs(tmp_path: Path) -> None:
    write_model(tmp_path / "m", MOE)
    done = command("expand.py", f"model={tmp_path}/m", "tp_list=1,16", "attention_backends=auto")
    assert "  note: tp 16 spans several B200 nodes of 8 GPUs" in done.stdout
    assert "(b200-tp16-bf16-auto)" in done.stdout


def test_expand_prints_json() -> None:
    done = command("expand.py", "model=llama-3.1-8b", "--json")
    (plan,) = json.loads(done.stdout)
    assert (plan["slug"], plan["revision"], plan["dropped"]) == ("llama-3.1-8b", "bundled", [])
    assert [config["tp"] for config in plan["configs"]] == [1, 1, 1, 1]


def test_expand_reads_another_config_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: llama-3.1-8b\nhardware: H100\n")
    done = command("expand.py", "--config", str(path), "attention_backends=auto")
    assert "h100-tp1-bf16-auto" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=kimi-k3"], "error: model 'kimi-k3' is not in the cookbook 'embedded'"),
        (["modle=kimi-k2"], "error: command line: unknown key 'modle'; nearest: model"),
        (["cookbook=/nowhere"], "error: cookbook /nowhere: no data/models/generated"),
    ],
)
@pytest.mark.parametrize("name", ["expand.py", "fetch.py"])
def test_a_failure_is_one_line(name: str, words: list[str], message: str) -> None:
    done = command(name, *words)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_planning_imports_neither_torch_nor_sglang() -> None:
    code = (
        "import sys; sys.path.insert(0, 'scripts'); "
        "from kerneldefs.serving.expand import plan_models; "
        "from kerneldefs.serving.settings import Settings; "
        "plan_models(Settings.load(words=['model=all']), may_fetch=False); "
        "print(sorted({'torch', 'sglang', 'flashinfer', 'huggingface_hub', 'numpy'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_fetch_says_what_is_where() -> None:
    done = command("fetch.py", "model=kimi-k2,llama-3.1-8b")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        f"kimi-k2-instruct: moonshotai/Kimi-K2-Instruct at bundled in {ROOT}/config/models/kimi-k2"
    )


def test_fetch_fails_for_the_model_that_could_not_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    done = command("fetch.py", "model=llama-3.1-8b,o/m", f"results={tmp_path}")
    assert done.returncode == 1
    assert "llama-3.1-8b: meta-llama/Llama-3.1-8B at bundled" in done.stdout
    assert "m: FAILED: o/m: the hub could not be reached" in done.stdout
