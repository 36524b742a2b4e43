"""What a batch is: a tensor, or tensors by name, of the same samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from streamspread.errors import DataError

MASK = "attention_mask"  # 1 or True where a token is one, 0 or False where it is padding
TOKENS = "input_ids"

_LABELS = ("label", "labels", "label_ids", "target", "targets")


class Named:
    """Tensors by name, (n, ...) each, whose row i belongs to sample i.

    What it can do as a tensor can has a tensor's name for it, so that whoever hands batches on need not ask
    which kind they are.

    Attributes:
        tensors: by name, in the order in which they came.
        others: what else came, by name, and in a few words why it is no tensor.
        padded: whether padding was added that nothing but the mask tells from tokens.

    Raises:
        DataError: tensors without a sample axis or with differing numbers of samples, or a mask that is not
            as long as the tokens.
    """

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        others: Mapping[str, str] | None = None,
        padded: bool = False,
    ) -> None:
        self.tensors, self.others, self.padded = dict(tensors), dict(others or {}), padded
        counts = {name: x.shape[0] if x.ndim else None for name, x in self.tensors.items()}
        if None in counts.values() or len(set(counts.values())) > 1:
            raise DataError(
                f"a batch's tensors need one number of samples, as their first axis; it has {self.describe()}"
            )
        tokens, mask = self.tensors.get(TOKENS), self.tensors.get(MASK)
        if tokens is not None and mask is not None and mask.ndim == 2 and mask.shape != tokens.shape[:2]:
            raise DataError(
                f"{MASK} is {tuple(mask.shape)} and {TOKENS} is {tuple(tokens.shape)}: a mask has a number "
                "for each token"
            )

    def __len__(self) -> int:
        return next((x.shape[0] for x in self.tensors.values()), 0)

    def __getitem__(self, samples: slice) -> Named:
        return self._each(lambda x: x[samples])

    def split(self, size: int) -> Iterator[Named]:
        """Parts of ``size`` samples, the last one of those that are left."""
        return (self[i : i + size] for i in range(0, len(self), size))

    def to(
        self,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
        copy: bool = False,
    ) -> Named:
        """On the device; floating-point numbers in ``dtype``."""
        return self._each(
            lambda x: x.to(
                device, dtype if x.is_floating_point() else None, non_blocking=non_blocking, copy=copy
            )
        )

    def clone(self) -> Named:
        return self._each(torch.clone)

    def detach(self) -> Named:
        return self._each(torch.Tensor.detach)

    def pin_memory(self) -> Named:
        return self._each(torch.Tensor.pin_memory)

    def is_pinned(self) -> bool:
        """Whether any is: then its giver has to be waited for."""
        return any(x.is_pinned() for x in self.tensors.values())

    def record_stream(self, stream: Any) -> None:
        for x in self.tensors.values():
            x.record_stream(stream)

    @property
    def is_cuda(self) -> bool:
        """Whether any of them lies on a card."""
        return any(x.is_cuda for x in self.tensors.values())

    @property
    def device(self) -> torch.device:
        """Of the first that lies on a card, else the CPU."""
        return next((x.device for x in self.tensors.values() if x.is_cuda), torch.device("cpu"))

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.tensors.values())

    def describe(self) -> str:
        """Names and shapes, and what else there is."""
        known = [f"{name} {tuple(x.shape)}" for name, x in self.tensors.items()]
        return ", ".join([*known, *(f"{name} ({why})" for name, why in self.others.items())]) or "nothing"

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Named:
        changed = {name: change(x) for name, x in self.tensors.items()}
        return Named(changed, self.others, self.padded)


#: A tensor (n, ...), or several by name.
Batch: TypeAlias = torch.Tensor | Named


def is_label(name: str) -> bool:
    """Whether what goes by that name says what a sample is, and is no input unless a model asks for it."""
    return name in _LABELS or name.endswith(("_label", "_labels"))


def tensors_of(batch: Batch) -> dict[str, torch.Tensor]:
    """By name; a tensor has the name ""."""
    return batch.tensors if isinstance(batch, Named) else {"": batch}


def floating_dtype(batch: Batch) -> torch.dtype | None:
    """That of the first floating-point numbers in it; None where there are none."""
    return next((x.dtype for x in tensors_of(batch).values() if x.is_floating_point()), None)


def describe(batch: Batch) -> str:
    """In a few words, for messages."""
    if isinstance(batch, Named):
        return f"a batch of {batch.describe()}"
    return f"a batch of shape {tuple(batch.shape)}, {batch.dtype}"


def mask_of(batch: Batch) -> torch.Tensor | None:
    """Which tokens are ones: bool (n, T), False where there is padding; None where the batch does not say.

    Raises:
        DataError: the mask has other axes, and so does not say it of tokens.
    """
    mask = batch.tensors.get(MASK) if isinstance(batch, Named) else None
    if mask is None:
        return None
    if mask.ndim != 2:
        raise DataError(f"{MASK} is {tuple(mask.shape)}; which tokens are padding is said by one of (n, T)")
    return mask != 0


def called(batch: Batch) -> str:
    """What its samples are, in a word: "images", "texts", or, where neither is plain, "samples"."""
    if not isinstance(batch, Named):
        return "images" if batch.ndim == 4 and batch.shape[1] in (1, 3, 4) else "samples"
    if TOKENS in batch.tensors and batch.tensors[TOKENS].ndim == 2 and "pixel_values" not in batch.tensors:
        return "texts"
    pictured = any(x.ndim == 4 and x.shape[1] in (1, 3, 4) for x in batch.tensors.values())
    return "images" if pictured and TOKENS not in batch.tensors else "samples"


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of all their samples; tokens are padded to the longest.

    Raises:
        DataError: named and unnamed ones, tensors of differing shapes, or as :func:`stacked`.
    """
    if len(batches) == 1:
        return batches[0]
    plain = [batch for batch in batches if isinstance(batch, torch.Tensor)]
    named = [batch for batch in batches if isinstance(batch, Named)]
    if not named:
        if len({x.shape[1:] for x in plain}) > 1:
            raise DataError(
                f"samples of shapes {_first_two(x.shape[1:] for x in plain)}; all must have one shape"
            )
        return torch.cat(plain)
    if plain:
        raise DataError("some samples are tensors and others have names; all must be of one kind")
    if any(MASK in batch.tensors for batch in named):
        named = [_with_mask(batch) for batch in named]
    names = dict.fromkeys(name for batch in named for name in batch.tensors)
    others = {name: why for batch in named for name, why in batch.others.items()}
    columns: dict[str, list[torch.Tensor]] = {}
    for name in names:
        if any(name not in batch.tensors for batch in named):
            others.setdefault(name, "not in all samples")
        else:
            columns[name] = [row for batch in named for row in batch.tensors[name].unbind()]
    return stacked(columns, others, any(batch.padded for batch in named))


def _with_mask(batch: Named) -> Named:
    """The batch with a mask: where it has none, all its tokens are ones."""
    if MASK in batch.tensors or TOKENS not in batch.tensors:
        return batch
    mask = torch.ones_like(batch.tensors[TOKENS], dtype=torch.int64)
    return Named({**batch.tensors, MASK: mask}, batch.others, batch.padded)


#: What tokens' columns are padded with: what a mask of 0 lets no model read.
_PADDING = {
    TOKENS: 0,
    MASK: 0,
    "token_type_ids": 0,
    "position_ids": 0,
    "special_tokens_mask": 1,
    "decoder_input_ids": 0,  # what stands behind a text, none of its tokens sees
    "decoder_attention_mask": 0,
    "labels": -100,
}


def stacked(
    columns: Mapping[str, Sequence[torch.Tensor]], others: Mapping[str, str], padded: bool = False
) -> Named:
    """A batch from each name's rows. Where rows of tokens differ in length they are padded at their end, and
    a mask says so. Other columns whose rows differ are no tensors."""
    others, tensors = dict(others), {}
    tokens = columns.get(TOKENS)
    lengths = [len(row) for row in tokens or () if row.ndim == 1]
    ragged = len(set(lengths)) > 1
    if ragged and MASK not in columns and tokens is not None:
        columns = {**columns, MASK: [torch.ones_like(row, dtype=torch.int64) for row in tokens]}
    for name, rows in columns.items():
        if len({row.shape for row in rows}) == 1:
            if name == MASK and ragged:
                raise _other_mask(rows, lengths)
            tensors[name] = torch.stack(list(rows))
        elif ragged and name in _PADDING and [row.shape for row in rows] == [(length,) for length in lengths]:
            tensors[name] = torch.nn.utils.rnn.pad_sequence(
                list(rows), batch_first=True, padding_value=_PADDING[name]
            )
        elif name == MASK and lengths:
            raise _other_mask(rows, lengths)
        else:
            others[name] = f"of shapes {_first_two(row.shape for row in rows)}, with no known padding"
    return Named(tensors, others, padded or ragged)


def _other_mask(rows: Sequence[torch.Tensor], lengths: Sequence[int]) -> DataError:
    row, length = next((r, n) for r, n in zip(rows, lengths, strict=False) if r.shape != (n,))
    return DataError(f"{MASK} is {tuple(row.shape)} for {length} tokens: a mask has a number for each token")


def _first_two(shapes: Iterable[torch.Size]) -> str:
    one, other = list(dict.fromkeys(tuple(shape) for shape in shapes))[:2]
    return f"{one} and {other}"
