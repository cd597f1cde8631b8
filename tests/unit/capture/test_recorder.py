"""The recorder between FlashInfer's dumper and an API's body, on an API of our own.

Runs with FlashInfer's real decorator and template classes, in a process of its own: the recorder
changes both for as long as the process lives.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
PREAMBLE = """
    import dataclasses, importlib, importlib.util, json, os, sys, types
    import torch
    spec = importlib.util.find_spec("flashinfer")
    package = types.ModuleType("flashinfer")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["flashinfer"] = package  # the decorator alone, not every kernel's module
    from kerneldefs.capture.recorder import Recorder
    api_logging = importlib.import_module("flashinfer.api_logging")
    recorder = Recorder()
    recorder.install(api_logging)
    api = api_logging.flashinfer_api
    from flashinfer.trace.template import Const, Scalar, Tensor, TraceTemplate, Var
    scale = TraceTemplate(
        "scale",
        axes={"rows": Var(), "cols": Const(abbrev="c")},
        inputs={"x": Tensor(["rows", "cols"]), "factor": Scalar("float32")},
        outputs={"y": Tensor(["rows", "cols"], dtype_from="x")},
    )
    def report():
        print(json.dumps([dataclasses.asdict(c) for c in recorder.calls()]))
"""


@pytest.fixture
def recorded(tmp_path):
    def run(code: str) -> list[dict]:
        program = textwrap.dedent(PREAMBLE) + textwrap.dedent(code) + "\nreport()\n"
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(SCRIPTS),
            "FLASHINFER_TRACE_DUMP": "1",
            "FLASHINFER_TRACE_DUMP_DIR": str(tmp_path),
            "FLASHINFER_WORKSPACE_BASE": str(tmp_path),
            "HOME": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_a_call_is_recorded_with_its_tensors_scalars_and_dumped_name(recorded, tmp_path):
    [call] = recorded("""
        @api(trace=scale)
        def scale_rows(x, factor=2.0, mode=None):
            return x * factor
        with recorder.step("decode"):
            scale_rows(torch.ones(4, 8, dtype=torch.bfloat16))
            scale_rows(torch.ones(4, 8, dtype=torch.bfloat16))
    """)
    assert call["op"] == "__main__.scale_rows"
    assert call["tensors"]["x"] == {"shape": [4, 8], "dtype": "bfloat16", "stride": [8, 1]}
    assert call["scalars"] == {"factor": 2.0, "mode": None}
    assert call["outputs"][0]["shape"] == [4, 8]
    assert (call["phase"], call["count"]) == ("decode", 2)
    assert (call["definition"], call["template"]) == ("scale_c8", "__main__.scale_rows:scale")
    assert (tmp_path / "scale_c8.json").exists()  # FlashInfer's own dump


def test_an_api_without_a_template_is_recorded_without_a_definition(recorded):
    [call] = recorded("""
        @api
        def touch(pair, kind):
            return None
        touch((torch.ones(2), torch.ones(3)), torch.float16)
    """)
    assert call["definition"] is None and call["template"] is None
    assert sorted(call["tensors"]) == ["pair#0", "pair#1"]
    assert call["scalars"] == {"kind": "torch.float16"}


def test_calls_inside_an_api_keep_their_own_names(recorded):
    calls = recorded("""
        @api(trace=scale)
        def inner(x, factor=1.0):
            return x
        @api
        def outer(x):
            return inner(x)
        outer(torch.ones(1, 4))
    """)
    assert {c["op"]: c["definition"] for c in calls} == {
        "__main__.inner": "scale_c4",
        "__main__.outer": None,
    }


def test_run_knows_what_plan_was_told_and_what_the_wrapper_says_at_run_time(recorded):
    calls = recorded("""
        class Wrapper:
            @api
            def plan(self, indptr, num_kv_heads, causal=False):
                self._causal = causal
            @api(trace=scale)
            def run(self, x, factor=1.0):
                return x
            def forward(self, x):
                self._causal = True
                return self.run(x)
        w = Wrapper()
        w.plan(torch.zeros(5, dtype=torch.int32), 8)
        w.forward(torch.ones(2, 4))
    """)
    run = next(c for c in calls if c["op"].endswith("run"))
    assert run["plan"]["num_kv_heads"] == 8
    assert run["plan"]["indptr"] == {"shape": [5], "dtype": "int32", "stride": [1]}
    assert run["plan"]["causal"] is False
    assert run["state"] == {"causal": True}


def test_calls_name_the_module_that_they_come_from(recorded):
    [call] = recorded("""
        @api(trace=scale)
        def scale_rows(x, factor=2.0):
            return x
        class Norm(torch.nn.Module):
            def forward(self, x):
                return scale_rows(x)
        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = torch.nn.ModuleList([Norm(), Norm()])
            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
        model = Model()
        recorder.follow(model)
        model(torch.ones(1, 4))
    """)
    assert (call["layer"], call["count"]) == ("layers.N", 2)
