"""Sources that know by themselves where reading is, and go on there, as torchdata's loaders do."""

import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader

from streamspread.errors import DataError, StreamspreadError
from streamspread.streams.batch import Batch


class Stateful:
    """A source whose ``state_dict()`` says where reading is, and which goes on there in the next iteration
    after ``load_state_dict()``.

    ``begun(batch_size, first)``: the batches of its next iteration; its first sample has that number.
    """

    def __init__(self, source: Any, begun: Callable[[int | None, int], Iterator[Batch]], what: str) -> None:
        self._source, self._begun, self._what = source, begun, what

    def state(self) -> Any:
        """Where reading is: after the batch that was given last."""
        return self._source.state_dict()

    def resumed(self, state: Any, batch_size: int | None, first: int) -> Iterator[Batch]:
        """What comes after the place of a state, of which the first sample has that number.

        Raises:
            DataError: the source does not take the state.
        """
        try:
            self._source.load_state_dict(state)
            batches = self._begun(batch_size, first)
            start = next(batches, None)
        except StreamspreadError:
            raise
        except Exception as error:
            raise DataError(
                f"{self._what}: it does not go on at sample {first:,}, where the checkpoint was made "
                f"({type(error).__name__}: {error}): give the same data, or another --checkpoint"
            ) from error
        return iter(()) if start is None else chain([start], batches)


def stateful(source: Any, begun: Callable[[int | None, int], Iterator[Batch]], what: str) -> Stateful | None:
    """The source, where it can say where reading is and go on there; else None.

    Of a loader the data set must say so too: torchdata's counts what it skips twice where that does not
    (0.11), and would skip too much after the second time.
    """
    asked = [source, source.dataset] if isinstance(source, DataLoader) else [source]
    names = ("state_dict", "load_state_dict")
    able = all(callable(getattr(one, name, None)) for one in asked for name in names)
    return Stateful(source, begun, what) if able and not isinstance(source, torch.nn.Module) else None


def packed(state: Any) -> torch.Tensor | None:
    """A state as bytes, uint8 (n,), which can be read without running code that lies in them; None for one
    that cannot."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        bytes_n = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
        unpacked(bytes_n)
    except (pickle.PickleError, TypeError, ValueError, AttributeError, RuntimeError):
        return None
    return bytes_n


def unpacked(bytes_n: torch.Tensor) -> Any:
    """What :func:`packed` packed. RuntimeError, ValueError: damaged, or other objects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(io.BytesIO(bytes_n.numpy().tobytes()), weights_only=True)
        except (pickle.UnpicklingError, EOFError):
            raise ValueError("the state of a loader cannot be read") from None
