"""The hub's client is the real one; the hub is a small server that speaks its protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.hub import cache_folder, cached, fetch

from .hubserver import Hub, serving
from .make import COMMIT


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        server.models["o/m"] = {
            "config.json": b'{"auto_map": {"AutoConfig": "configuration_m.M"}}',
            "hf_quant_config.json": b"{}",
            "configuration_m.py": b"x = 1",
            "model.safetensors": b"weights",
        }
        yield server


def test_what_is_fetched_is_found_in_the_cache(tmp_path: Path, hub: Hub) -> None:
    assert cached(tmp_path, "o/m", None, with_code=False) is None
    config = fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert (config.repo_id, config.revision) == ("o/m", COMMIT)
    folder = cache_folder(tmp_path, "o/m")
    assert folder == tmp_path / "cache/models/o--m"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == [f"{COMMIT}/config.json", f"{COMMIT}/hf_quant_config.json", "refs/main"]
    assert cached(tmp_path, "o/m", None, with_code=False) == config
    assert cached(tmp_path, "o/m", "main", with_code=False) == config
    assert cached(tmp_path, "o/m", COMMIT, with_code=False) == config
    assert cached(tmp_path, "o/m", "other", with_code=False) is None


def test_code_is_fetched_only_when_it_is_trusted(tmp_path: Path, hub: Hub) -> None:
    fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert cached(tmp_path, "o/m", None, with_code=True) is None
    config = fetch(tmp_path, "o/m", None, with_code=True, endpoint=hub.url)
    assert (config.directory / "configuration_m.py").read_text() == "x = 1"
    assert cached(tmp_path, "o/m", None, with_code=True) == config
    assert not any("safetensors" in path for path in hub.asked)


def test_a_revision_is_asked_for_as_it_is_written(tmp_path: Path, hub: Hub) -> None:
    fetch(tmp_path, "o/m", "12e5", with_code=False, endpoint=hub.url)
    assert (cache_folder(tmp_path, "o/m") / "refs/12e5").read_text() == COMMIT + "\n"


def test_a_gated_repository(tmp_path: Path, hub: Hub) -> None:
    hub.gated.add("o/m")
    with pytest.raises(KerneldefsError, match=r"^o/m is gated: accept its terms .* hf_repo_id$"):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert not list(cache_folder(tmp_path, "o/m").iterdir())


def test_a_missing_repository(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(KerneldefsError, match=r"^o/n does not exist on the hub, or is private"):
        fetch(tmp_path, "o/n", None, with_code=False, endpoint=hub.url)


def test_a_missing_revision(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(KerneldefsError, match=r"^o/m has no revision 'v9'; check `revision`"):
        fetch(tmp_path, "o/m", "v9", with_code=False, endpoint=hub.url)


def test_a_repository_without_config(tmp_path: Path, hub: Hub) -> None:
    del hub.models["o/m"]["config.json"]
    with pytest.raises(KerneldefsError, match=r"^o/m at 'main': has no config\.json"):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)


def test_a_broken_config_does_not_enter_the_cache(tmp_path: Path, hub: Hub) -> None:
    hub.models["o/m"]["config.json"] = b"[1]"
    with pytest.raises(
        KerneldefsError, match=r"^o/m at 'main': its config is broken \(.*JSON object"
    ):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert cached(tmp_path, "o/m", COMMIT, with_code=False) is None


def test_no_hub_in_reach(tmp_path: Path, hub: Hub) -> None:
    url = hub.url
    hub.shutdown()
    hub.server_close()
    with pytest.raises(KerneldefsError, match=r"^o/m: the hub could not be reached \(.*network"):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=url)
