"""Where the calls to derive from come from."""

from pathlib import Path

import pytest
from kerneldefs.capture.record import CAPTURE_FILE
from kerneldefs.derive.source import seen_calls
from kerneldefs.files import write_json
from kerneldefs.serving.modelconfig import read_model_config

from .make import config as serving

LLAMA = Path(__file__).parents[3] / "config/models/llama-3.1-8b"


@pytest.mark.parametrize(("status", "derived"), [("refused", True), ("failed", False)])
def test_only_a_refusal_is_made_up_for_by_prediction(
    tmp_path: Path, status: str, derived: bool
) -> None:
    config = serving("llama-3.1-8b")
    model = read_model_config(LLAMA, config.repo_id, config.revision)
    write_json(tmp_path / CAPTURE_FILE, {"status": status, "reason": "no"})
    seen = seen_calls(config, model, tmp_path)
    assert bool(seen.calls) == derived
    assert (seen.reason, seen.status) == ("no", status)
