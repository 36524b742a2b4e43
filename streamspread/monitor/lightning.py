"""A monitor as a callback of Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from streamspread.errors import MissingError
from streamspread.monitor.monitor import Monitor


def callback(layers: Any = "all", **given: Any) -> Any:
    """A callback that observes the module that is trained, logs to the trainer's loggers too, and is kept in
    its checkpoints. Its ``monitor`` is there once the training has begun.

    Args:
        layers, given: as of :class:`streamspread.Monitor`.

    Raises:
        MissingError: Lightning is not installed.
    """
    return _class()(layers, given)


def _class() -> type:
    """Of the package that is installed, by either of its names."""
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            base = import_module(package).Callback
        except ModuleNotFoundError:
            continue
        return type("SpreadCallback", (_Spread, base), {})
    raise MissingError(
        "Lightning is not installed: pip install lightning, or use Monitor in a loop of your own"
    )


class _Spread:
    """What Lightning calls; each of its steps is one of the optimizer's."""

    def __init__(self, layers: Any, given: Mapping[str, Any]) -> None:
        self._layers, self._given = layers, dict(given)
        self._state: Mapping[str, Any] | None = None
        self._steps = 0
        self.monitor: Monitor | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        own = self._given.get("loggers") or ()
        loggers = [*(own if isinstance(own, (list, tuple)) else [own]), *trainer.loggers]
        self.monitor = Monitor(pl_module, self._layers, **{**self._given, "loggers": loggers})
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
        if self.monitor is not None:
            self.monitor.stop()

    def on_exception(self, *_: Any) -> None:
        self.on_train_end()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._state = state or None
