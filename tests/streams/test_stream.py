"""What is asked of every stream: head, count, what was seen, checksum, and the check of its batches."""

from collections.abc import Iterator

import pytest
import torch

from streamspread.errors import DataError, OptionError
from streamspread.ranks.transport import packed, unpacked
from streamspread.streams.adapt import as_stream
from streamspread.streams.stream import Read, Seen, Stream, checked, count, head, resolve_batch_size
from streamspread.system.tensors import checksum
from tests.devices import DEVICES


class Listed(Stream):
    """A repeatable stream of the given batches that counts its passes and does not tell its length."""

    description = "listed"

    def __init__(self, parts: list[torch.Tensor]) -> None:
        self.parts = parts
        self.passes = 0

    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        self.passes += 1
        return iter(self.parts)


def numbered(start: int, stop: int) -> torch.Tensor:
    return torch.arange(start, stop).reshape(-1, 1)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 7])
def test_head_gives_the_first_samples_across_batches(n):
    stream = Listed([numbered(0, 3), numbered(3, 4), numbered(4, 7)])
    assert torch.equal(head(stream, n), numbered(0, n))


def test_head_refuses_no_samples_an_empty_stream_and_one_it_would_use_up():
    with pytest.raises(OptionError, match="head of 0 samples"):
        head(Listed([numbered(0, 3)]), 0)
    with pytest.raises(DataError, match="listed: no samples in it"):
        head(Listed([]), 1)
    once = Listed([numbered(0, 3)])
    once.repeatable = False
    with pytest.raises(DataError, match="would lose them"):
        head(once, 1)
    assert once.passes == 0


def test_count_reads_only_where_the_length_is_unknown():
    stream = Listed([numbered(0, 3), numbered(3, 5)])
    assert count(stream) == 5
    assert stream.passes == 1
    stream.samples = 7
    assert count(stream) == 7
    assert stream.passes == 1


def test_count_refuses_a_stream_that_it_would_use_up():
    once = Listed([numbered(0, 3)])
    once.repeatable = False
    with pytest.raises(DataError, match="would use it up; give a callable"):
        count(once)
    assert once.passes == 0


def seen(*batches: torch.Tensor) -> str:
    """The hash of these batches."""
    found = Seen()
    for batch in batches:
        found.add(batch)
    assert found.samples == sum(len(batch) for batch in batches)
    return found.text()


DTYPES = [
    torch.uint8,
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.bool,
    torch.int64,
    torch.float8_e4m3fn,
    torch.uint16,
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_was_seen_is_of_the_values_not_of_their_layout_device_or_batches(dtype, device):
    x = (torch.rand(100, 3, 16, 16) * 200).to(dtype)
    lying = x.clone(memory_format=torch.channels_last)
    assert lying.stride() != x.stride()
    cuts = [x.split(size) for size in (1, 7, 64, 100)]
    different = [lying.split(33), x.to(device).split(9), [*x[:50].split(3), x[50:]]]
    assert {seen(*cut) for cut in (*cuts, *different)} == {seen(x)}


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (256, 3, 32, 32), (64, 3, 96, 96), (6000, 8), (5000, 1)])
def test_what_was_seen_tells_any_two_samples_swapped_and_any_sample_replaced(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    reference = seen(x)
    for i, j in [(0, 1), (0, shape[0] - 1), (shape[0] // 2, shape[0] // 2 - 1)]:
        replaced = x.clone()
        replaced[i] = 0.5
        assert seen(replaced) != reference
        if i != j:
            swapped = x.clone()
            swapped[[i, j]] = x[[j, i]]
            assert seen(swapped) != reference


@pytest.mark.parametrize("place", [0, 5, 1000, 3071])
def test_what_differs_at_one_place_of_all_samples_is_seen(place):
    x = torch.rand(1000, 3072)
    other = x.clone()
    other[:, place] = 0
    assert seen(other) != seen(x)


@pytest.mark.parametrize("dim", [2, 17, 32, 33, 48, 96, 1024, 3072])
def test_over_the_samples_all_places_are_read(dim):
    samples = 4 * dim
    x = torch.zeros(samples, dim)
    reference = seen(x)
    for place in range(0, dim, max(1, dim // 40)):
        x[:, place] = 1
        assert seen(x) != reference
        x[:, place] = 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.bool, torch.int64])
def test_checksum_is_of_every_value_and_not_of_the_layout(dtype):
    batch = (torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 200).to(dtype)
    assert checksum(batch) == checksum(batch.clone(memory_format=torch.channels_last))
    other = batch.clone()
    other[31, 1, 7, 9] = batch[31, 1, 7, 9] == 0
    assert checksum(other) != checksum(batch)


def test_checked_names_the_sample_and_both_shapes():
    parts = [torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4), torch.zeros(2, 3, 5, 4)]
    with pytest.raises(DataError, match=r"x: sample 5 has shape \(3, 5, 4\), sample 0 has \(3, 4, 4\)"):
        list(checked(parts, "x"))


def test_checked_refuses_a_change_of_dtype_a_number_and_nothing():
    with pytest.raises(DataError, match=r"sample 2 is torch.uint8, sample 0 is torch.float32"):
        list(checked([torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.uint8)], "x"))
    with pytest.raises(DataError, match="x: a batch is a single number"):
        list(checked([torch.tensor(1.0)], "x"))
    with pytest.raises(DataError, match="x: no samples in it"):
        list(checked([numbered(0, 0)], "x"))


def test_batch_size_below_one_is_refused():
    assert resolve_batch_size(7) == 7
    assert resolve_batch_size(None) >= 1
    with pytest.raises(OptionError, match="batch size 0 asked for"):
        resolve_batch_size(0)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.ones(2, 3, device="meta"), "on the meta device, without its numbers"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "nested"),
        (torch.ones(2, 3).to_sparse(), r"sparse \(torch.sparse_coo\)"),
    ],
)
def test_numbers_that_cannot_be_read_as_they_lie_are_refused(batch, words):
    with pytest.raises(DataError, match=f"these: sample 2 is {words}; give ordinary tensors"):
        list(checked([torch.ones(2, 3), batch], "these"))
    with pytest.raises(DataError, match=f"a tensor that is {words} cannot be read"):
        as_stream(batch)


def test_what_was_read_of_a_batch_travels_without_the_batch():
    x = torch.arange(64 * 3 * 32 * 32).view(64, 3, 32, 32)
    read, seen = Read.of(x, 0), Seen()
    assert len(packed(read.on_cpu())) < x.nbytes // 100
    seen.take(unpacked(packed(read.on_cpu())))
    whole = Seen()
    whole.add(x)
    assert seen.text() == whole.text()
