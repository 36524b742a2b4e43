"""A monitor as a callback of the Trainer of Hugging Face's transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streamspread.errors import MissingError, OptionError
from streamspread.monitor.looks import line_of
from streamspread.monitor.monitor import Monitor
from streamspread.system.files import replace_file

_KEPT = "streamspread_monitor.json"


def callback(layers: Any = "all", **given: Any) -> Any:
    """A TrainerCallback that observes the model that is trained. Its state lies in the trainer's checkpoints,
    and a training that is resumed from one goes on with it. Its ``monitor`` is there once the training has
    begun.

    Args:
        layers, given: as of :class:`streamspread.Monitor`.

    Raises:
        MissingError: transformers is not installed.
    """
    if find_spec("transformers") is None:
        raise MissingError(
            "transformers is not installed: pip install 'streamspread[hf]', or use Monitor in a loop of your "
            "own"
        )
    base = import_module("transformers").TrainerCallback
    return type("SpreadCallback", (_Spread, base), {})(layers, given)


class _Spread:
    """What the Trainer calls; each of its steps is one of the optimizer's."""

    def __init__(self, layers: Any, given: Mapping[str, Any]) -> None:
        self._layers, self._given = layers, dict(given)
        self.monitor: Monitor | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.on_train_end()  # of a training that failed nobody told
        self.monitor = Monitor(model, self._layers, **self._given)
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
        if self.monitor is not None:
            self.monitor.stop()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OptionError(f"{str(path)!r} holds no state of a Monitor: {line_of(error)}") from error


def _write(path: Path, state: Mapping[str, Any]) -> None:
    replace_file(path, json.dumps(state).encode())


def _kept(args: Any, state: Any) -> Path:
    """The state's file, in the checkpoint of that step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / _KEPT
