"""What runs inside a process of SGLang's engine: the recorder, and what is written of it.

Two steps, because they must happen at different times. The recorder hooks FlashInfer's decorator,
so `record` runs before SGLang imports FlashInfer. SGLang's plugin entry point comes later, when its
own classes can be hooked: `install`, in every process that SGLang starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerneldefs.capture.engine.places import (
    FAILURES,
    FINISHED_FILE,
    FOLDER,
    RANK_FILE,
    rank_folder,
)
from kerneldefs.capture.flashinfer_import import undecorated
from kerneldefs.capture.observe.observer import Observer
from kerneldefs.capture.record import (
    CALLS_FILE,
    DUMP_FOLDER,
    TEMPLATES_FILE,
    write_calls,
    write_templates,
)
from kerneldefs.capture.recorder import Recorder
from kerneldefs.capture.refusal import described
from kerneldefs.files import write_json, write_text

_RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner"
_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
FINISH = "kerneldefs_finish"  # the remote call that every scheduler answers


class Rank:
    """The recorder of one scheduler process, and the folder that it writes to."""

    def __init__(self, folder: Path) -> None:
        self.recorder = Recorder()
        self.observer = Observer(self.recorder)
        self._root = folder
        self._folder: Path | None = None

    def begin(self, rank: int) -> None:
        """Give FlashInfer's dump and our record their folder, before the model is loaded."""
        self._folder = rank_folder(self._root, rank)
        dump = self._folder / DUMP_FOLDER
        dump.mkdir(parents=True, exist_ok=True)
        os.environ["FLASHINFER_TRACE_DUMP_DIR"] = str(dump)

    def loaded(self, model: Any) -> None:
        """Note which module each later call comes from, and watch what runs beside FlashInfer."""
        self.recorder.follow(model)
        self.observer.follow(model)

    def write(self) -> None:
        """Write what was seen so far: a crash later loses nothing of it."""
        if self._folder is not None:
            write_calls(self._folder / CALLS_FILE, self.recorder.calls())
            write_templates(self._folder / TEMPLATES_FILE, self.recorder.templates)

    def finish(self, runner: Any) -> None:
        """Write everything, with the backends that SGLang picked, and say so."""
        assert self._folder is not None, "a scheduler that loaded no model was asked to finish"
        unobserved = self.observer.finish()
        self.write()
        write_json(self._folder / RANK_FILE, {**_picked(runner), "warnings": unobserved})
        write_text(self._folder / FINISHED_FILE, "")

    def failed(self, error: BaseException) -> None:
        """Leave an exception where the capture's own process finds it."""
        self.write()
        path = self._root / FAILURES / f"{os.getpid()}.json"
        if not path.exists():  # the first one is the cause
            write_json(path, described(error))


_RANKS: list[Rank] = []  # one in a process that records, none elsewhere


def record() -> None:
    """Hook FlashInfer's decorator in this process; before anything imports FlashInfer."""
    rank = Rank(Path(os.environ[FOLDER]))
    with undecorated() as api_logging:
        rank.recorder.install(api_logging)
    _RANKS.append(rank)


def install() -> None:
    """Hook SGLang's scheduler: the entry point that SGLang calls in each of its processes."""
    if not _RANKS:
        return  # the engine's own process, which runs no model
    from sglang.srt.managers.scheduler import Scheduler
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    [rank] = _RANKS
    hooks: dict[str, Callable[..., Any]] = {
        f"{_SCHEDULER}.__init__": _guarded(rank),
        f"{_RUNNER}.load_model": _load(rank),
        f"{_RUNNER}.forward": _forward(rank),
        f"{_RUNNER}.sample": _sample(rank),
    }
    rank.observer.install()
    for target, hook in hooks.items():
        HookRegistry.register(target, hook, HookType.AROUND)
    setattr(Scheduler, FINISH, lambda self: rank.finish(self.tp_worker.model_runner))


def _guarded(rank: Rank) -> Callable[..., Any]:
    def call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except Exception as error:
            rank.failed(error)
            raise

    return call


def _load(rank: Rank) -> Callable[..., Any]:
    def load(original: Callable[..., Any], runner: Any, *args: Any, **kwargs: Any) -> Any:
        import torch.distributed

        rank.begin(torch.distributed.get_rank())
        result = original(runner, *args, **kwargs)
        rank.loaded(runner.model)
        return result

    return load


def _forward(rank: Rank) -> Callable[..., Any]:
    guarded = _guarded(rank)

    def forward(
        original: Callable[..., Any], runner: Any, batch: Any, *args: Any, **kw: Any
    ) -> Any:
        rank.recorder.phase = phase(batch)  # stays until the next one: sampling belongs to it
        with rank.observer.watching():
            return guarded(original, runner, batch, *args, **kw)

    return forward


def _sample(rank: Rank) -> Callable[..., Any]:
    guarded = _guarded(rank)

    def sample(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with rank.observer.watching():
            result = guarded(original, *args, **kwargs)
        rank.write()
        return result

    return sample


def phase(batch: Any) -> str:
    """Return the probe's phase that a batch of SGLang's belongs to."""
    mode = batch.forward_mode
    if mode.is_idle():
        return "idle"
    if mode.is_decode():
        return "decode"
    prefixes = getattr(batch, "extend_prefix_lens_cpu", None) or ()
    return "prefill on a cached prefix" if any(prefixes) else "prefill"


def _picked(runner: Any) -> dict[str, Any]:
    """Which backends the runner ended up with; None where this release has no such attribute."""
    names = {"prefill": "prefill_attention_backend_str", "decode": "decode_attention_backend_str"}
    return {
        "attention_backend": type(runner.attn_backend).__name__,
        **{key: getattr(runner, name, None) for key, name in names.items()},
    }
