"""A monitor as a callback of Lightning's Trainer, and of that of Hugging Face's transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streamspread.errors import MissingError, OptionError, kind_and_line
from streamspread.system.files import replace_file

_KEPT = "streamspread_monitor.json"


class _Callback:
    """What both have: a monitor of the model that is trained, from the start of a training to its end."""

    def __init__(self, make: Callable[..., Any], layers: Any, given: Mapping[str, Any]) -> None:
        self._make, self._layers, self._given = make, layers, dict(given)
        self.monitor: Any = None

    def _stop(self) -> None:
        if self.monitor is not None:
            self.monitor.stop()


def for_lightning(make: Callable[..., Any], layers: Any, given: Mapping[str, Any]) -> Any:
    """A callback of Lightning. ``make``: the class of monitors.

    Raises:
        MissingError: Lightning is not installed.
    """
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            base = import_module(package).Callback
        except ModuleNotFoundError:
            continue
        return type("SpreadCallback", (_Lightning, base), {})(make, layers, given)
    raise MissingError(
        "Lightning is not installed: pip install lightning, or use Monitor in a loop of your own"
    )


class _Lightning(_Callback):
    """What Lightning calls; each of its steps is one of the optimizer's."""

    _state: Mapping[str, Any] | None = None
    _steps = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        own = self._given.get("loggers") or ()
        loggers = [*(own if isinstance(own, (list, tuple)) else [own]), *trainer.loggers]
        self.monitor = self._make(pl_module, self._layers, **{**self._given, "loggers": loggers})
        if self._state is not None:
            self.monitor.load_state_dict(self._state)
            self._state = None  # another fit goes on from where the trainer is then
        else:
            self.monitor.steps = trainer.global_step
        self._steps = trainer.global_step
        self.monitor.start()

    def on_train_batch_start(self, *_: Any) -> None:
        if self.monitor is not None:
            self.monitor.next_batch()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if self.monitor is not None and trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self.monitor.step()

    def on_train_end(self, *_: Any) -> None:
        self._stop()

    def on_exception(self, *_: Any) -> None:
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._state = state or None


def for_transformers(make: Callable[..., Any], layers: Any, given: Mapping[str, Any]) -> Any:
    """A callback of transformers. ``make``: the class of monitors.

    Raises:
        MissingError: transformers is not installed.
    """
    if find_spec("transformers") is None:
        raise MissingError(
            "transformers is not installed: pip install 'streamspread[hf]', or use Monitor in a loop of your "
            "own"
        )
    base = import_module("transformers").TrainerCallback
    return type("SpreadCallback", (_Transformers, base), {})(make, layers, given)


class _Transformers(_Callback):
    """What the Trainer calls; each of its steps is one of the optimizer's."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._stop()  # of a training that failed nobody told
        self.monitor = self._make(model, self._layers, **self._given)
        kept = _kept(args, state)
        if kept.is_file():
            self.monitor.load_state_dict(_read(kept))
        else:
            self.monitor.steps = state.global_step
        self.monitor.start()

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        if self.monitor is not None:
            self.monitor.next_batch()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self.monitor is not None:
            self.monitor.step()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        path = _kept(args, state)
        if self.monitor is not None and state.is_world_process_zero and path.parent.is_dir():
            self.monitor.guarded("checkpoint", partial(_write, path), self.monitor.state_dict())

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._stop()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OptionError(f"{str(path)!r} holds no state of a Monitor: {kind_and_line(error)}") from error


def _write(path: Path, state: Mapping[str, Any]) -> None:
    replace_file(path, json.dumps(state).encode())


def _kept(args: Any, state: Any) -> Path:
    """The state's file, in the checkpoint of that step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / _KEPT
