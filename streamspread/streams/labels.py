"""Which class every sample of a stream belongs to, where its data say so."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from streamspread.errors import DataError
from streamspread.streams.stream import Stream
from streamspread.system.text import storable

_COLUMNS = ("label", "labels", "fine_label")


class Labels(NamedTuple):
    """The classes of N samples.

    index_N: int64 (N,), from 0 to C − 1, by the sample's place. ``names``: of the C classes that occur.
    """

    index_N: np.ndarray
    names: tuple[str, ...]

    @property
    def count_C(self) -> np.ndarray:
        """How many samples each class has."""
        return np.bincount(self.index_N, minlength=len(self.names))

    def repeated(self, times: int) -> Labels:
        """Of samples of which every one is so many in a row."""
        return Labels(np.repeat(self.index_N, times), self.names) if times > 1 else self


def labels_of(stream: Stream) -> Labels:
    """The classes of a stream's samples.

    Raises:
        DataError: it has no labels, not one for every sample, or comes in another order every time.
    """
    labels = stream.labels
    if labels is None:
        raise DataError(
            f"{stream.description}: classes were asked for, and the data have no labels in a fixed order: "
            "give a data set with whole numbers for labels, as TensorDataset(images, labels)"
        )
    label_N = labels.numpy()
    if missing := int((label_N < 0).sum()):
        raise DataError(
            f"{stream.description}: classes were asked for, and {missing:,} of {len(label_N):,} samples have "
            "no label (a number below 0)"
        )
    values, index_N = np.unique(label_N, return_inverse=True)
    known = stream.classes or ()
    names = tuple(str(known[value]) if value < len(known) else str(value) for value in values)
    return Labels(index_N.astype(np.int64), names)


def data_set_labels(data_set: Any) -> torch.Tensor | None:
    """int64 (N,), on the CPU: the whole numbers that a data set has for labels, without reading its items;
    None where it has none, or not one for each item, or its own code raises.

    They are the second tensor of a TensorDataset, what torchvision's sets have as ``targets`` or ``labels``,
    and the column ``label``, ``labels`` or ``fine_label`` of Hugging Face's; subsets and concatenations have
    those of their parts.
    """
    try:
        return _labels(data_set)
    except Exception:  # whatever a data set raises: who does not ask for labels should not see it
        return None


def column_labels(columns: Mapping[str, Any], count: int) -> torch.Tensor | None:
    """int64 (N,), on the CPU: the first column of whole numbers that goes by a label's name; None where there
    is none."""
    for name in _COLUMNS:
        try:
            if name in columns and (labels := _whole_numbers(columns[name], count)) is not None:
                return labels
        except Exception:  # as above
            continue
    return None


def sample_labels(samples: list[Any]) -> torch.Tensor | None:
    """int64 (N,), on the CPU: the whole number that each sample, a mapping, has by a label's name; None where
    one has none."""
    if not all(isinstance(sample, Mapping) for sample in samples):
        return None
    names = [name for name in _COLUMNS if all(name in sample for sample in samples)]
    return column_labels({name: [sample[name] for sample in samples] for name in names}, len(samples))


def class_names(data_set: Any) -> tuple[str, ...] | None:
    """The names that a data set has for its classes, as ``classes``, as UTF-8 holds them; None where it has
    none."""
    while isinstance(data_set, Subset):
        data_set = data_set.dataset
    try:
        names = getattr(data_set, "classes", None)
        if names is None and (features := getattr(data_set, "features", None)):
            label = next((name for name in _COLUMNS if name in features), "")
            names = getattr(features.get(label), "names", None)
        if not isinstance(names, (list, tuple)) or not names:
            return None
        return tuple(storable(str(name)) for name in names)
    except Exception:  # as above
        return None


def _labels(data_set: Any) -> torch.Tensor | None:
    if isinstance(data_set, Subset):
        of_all, index_n = _labels(data_set.dataset), _whole_numbers(list(data_set.indices), len(data_set))
        return None if of_all is None or index_n is None else of_all[index_n]
    if isinstance(data_set, ConcatDataset):
        parts = [_labels(part) for part in data_set.datasets]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if known and len(known) == len(parts) else None
    if getattr(data_set, "column_names", None):
        names = [name for name in _COLUMNS if name in data_set.column_names]
        columns = data_set.select_columns(names).with_format("numpy")[:] if names else {}
        return column_labels(columns, len(data_set))
    if isinstance(data_set, TensorDataset):
        given: Any = data_set.tensors[1] if len(data_set.tensors) > 1 else None
    else:
        given = getattr(data_set, "targets", None)
        given = getattr(data_set, "labels", None) if given is None else given
    return _whole_numbers(given, len(data_set) if isinstance(data_set, Sized) else -1)


def _whole_numbers(given: Any, count: int) -> torch.Tensor | None:
    labels = torch.as_tensor(given)
    whole = not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool
    if not whole or labels.shape != (count,):
        return None
    return labels.to(torch.int64).to_dense().cpu()
