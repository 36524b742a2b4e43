"""Tests of sets of images: in memory or read as they are used, chosen rows, scaling."""

import pickle
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.datasets import ImageData, StreamedImages
from streamspread.datasets.images import TensorPixels, choose, describe, gather, resize_and_crop
from streamspread.errors import DataError, OptionError
from streamspread.streams.adapt import as_stream
from streamspread.streams.resize import Side
from streamspread.streams.stream import head


def pixels(n, height=4, width=5):
    generator = torch.Generator().manual_seed(n)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def source(n, image_size=None):
    return TensorPixels(pixels(n), torch.arange(n) % 3, ("a", "b", "c"), image_size)


def test_image_data_gives_views_of_its_images():
    images = pixels(10)
    data = ImageData(images, torch.arange(10), ("x",), "ten")
    batches = list(data.batches(4))
    assert [b.data_ptr() for b in batches] == [images[i].data_ptr() for i in (0, 4, 8)]
    assert torch.equal(torch.cat(batches), images)
    assert (data.samples, data.repeatable, data.ordered) == (10, True, True)
    assert data.description == "ten, 10 images"
    assert as_stream(data) is data


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (torch.zeros(2, 3, 4, 4), None, r"images are torch.float32 \(2, 3, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None, r"uint8 \(2, 1, 4, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), None, r"uint8 \(3, 4, 4\)"),
        (torch.zeros(0, 3, 4, 4, dtype=torch.uint8), None, "N of 1 or more"),
        (pixels(2), torch.zeros(3), r"2 images but labels of shape \(3,\)"),
    ],
)
def test_image_data_of_another_kind_is_refused(images, labels, said):
    with pytest.raises(DataError, match=said):
        ImageData(images, labels)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 60), size=st.integers(1, 70), data=st.data())
def test_streamed_and_resident_give_the_same_rows_in_order(n, size, data):
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    wanted = pixels(n)[rows]
    needed = wanted.numel()
    resident = gather(source(n), rows, "set", "a set", resident_bytes=needed)
    streamed = gather(source(n), rows, "set", "a set", resident_bytes=needed - 1)
    assert type(resident) is ImageData
    assert type(streamed) is StreamedImages
    for stream in (resident, streamed, streamed):
        assert torch.equal(torch.cat(list(stream.batches(size))), wanted)
        assert torch.equal(stream.labels, torch.from_numpy(rows % 3))
        assert (stream.samples, stream.classes) == (len(rows), ("a", "b", "c"))
        assert (stream.name, stream.description) == ("set", "a set")
        assert torch.equal(head(stream, 2), wanted[:2])


def test_streamed_images_closed_early_read_no_further_and_leave_no_thread():
    class Counting(TensorPixels):
        reads = 0

        def read(self, rows):
            self.reads += 1
            return super().read(rows)

    counting = Counting(pixels(1000), None, None, None)
    batches = StreamedImages(counting, np.arange(1000), "set", "a set").batches(1)
    next(batches)
    batches.close()
    assert counting.reads <= 10
    assert not [t.name for t in threading.enumerate() if t.name.startswith("streamspread-ahead")]


class Watched:
    """Pixels that know how many of their batches are there, or being read."""

    labels = classes = None

    def __init__(self):
        self.there, self.most, self.lock = 0, 0, threading.Lock()

    def __len__(self):
        return 400

    def read(self, rows):
        self._count(2)
        time.sleep(0.001)
        pixels = torch.zeros(len(rows), 3, 2, 2, dtype=torch.uint8)
        weakref.finalize(pixels, self._count, -1)
        self._count(-1)
        return pixels

    def _count(self, by):
        with self.lock:
            self.there += by
            self.most = max(self.most, self.there)


def test_streamed_images_hold_no_more_batches_than_they_say():
    source = Watched()
    streamed = StreamedImages(source, np.arange(400), "watched", "")
    for batch in streamed.batches(4):
        time.sleep(0.002)
        assert len(batch) == 4
    assert 2 < source.most <= streamed.held_batches


def test_an_error_while_streaming_reaches_the_consumer_at_its_place():
    class Broken(TensorPixels):
        def read(self, rows):
            if 7 in rows:
                raise DataError("row 7 is broken")
            return super().read(rows)

    batches = StreamedImages(Broken(pixels(20), None, None, None), np.arange(20), "set", "a set").batches(2)
    assert [len(next(batches)) for _ in range(3)] == [2, 2, 2]
    with pytest.raises(DataError, match="row 7 is broken"):
        next(batches)


def test_a_batch_size_that_no_tensor_has_is_refused_and_one_above_the_samples_is_all_of_them():
    data = ImageData(pixels(5))
    with pytest.raises(OptionError, match=r"batch size 10{22} asked for; it may be at most 2147483647"):
        data.batches(10**22)
    assert [len(batch) for batch in data.batches(2**31 - 1)] == [5]


@settings(max_examples=50, deadline=None)
@given(total=st.integers(2, 500), seed=st.integers(0, 2**32), data=st.data())
def test_chosen_rows_are_distinct_ascending_and_as_many_as_asked_for(total, seed, data):
    samples = data.draw(st.integers(2, total))
    rows = choose(total, samples, seed, "set")
    assert len(rows) == samples
    assert np.all(np.diff(rows) > 0)
    assert rows[0] >= 0
    assert rows[-1] < total
    assert np.array_equal(rows, choose(total, samples, seed, "set"))


def test_numbers_of_samples_that_cannot_be():
    with pytest.raises(OptionError, match="1 samples asked for; a spread needs 2"):
        choose(10, 1, 0, "set")
    with pytest.raises(OptionError, match="seed -1"):
        choose(10, 2, -1, "set")
    with pytest.raises(DataError, match="set: 11 samples asked for, but there are 10"):
        choose(10, 11, 0, "set")
    with pytest.raises(DataError, match="set: no images"):
        choose(0, None, 0, "set")


@pytest.mark.parametrize("shape", [(32, 32), (33, 48), (48, 33), (17, 91), (64, 65), (20, 20)])
@pytest.mark.parametrize("size", [20, 32, 51])
def test_scaling_is_that_of_torchvisions_resize_and_centre_crop(shape, size):
    from torchvision.transforms.v2 import CenterCrop, Resize

    images = pixels(3, *shape)
    got = resize_and_crop(images, size)
    assert got.shape == (3, 3, size, size)
    assert got.dtype == torch.uint8
    assert torch.equal(got, CenterCrop(size)(Resize(size)(images)))


def test_scaling_while_streaming_is_that_of_the_images_in_memory():
    rows = np.arange(30)
    resident = gather(source(30, 12), rows, "set", "a set")
    streamed = gather(source(30, 12), rows, "set", "a set", resident_bytes=100)
    assert resident.images.shape == (30, 3, 12, 12)
    assert torch.equal(torch.cat(list(streamed.batches(7))), resident.images)
    assert torch.equal(resident.images, resize_and_crop(pixels(30), 12))


@pytest.mark.parametrize("shape", [(64, 64), (50, 91), (24, 40)])
@pytest.mark.parametrize(("size", "shorter", "mode"), [(32, 37, "bicubic"), (32, 36, "bilinear")])
def test_a_side_scales_to_more_and_cuts_as_torchvision_does(shape, size, shorter, mode):
    from torchvision.transforms.v2 import CenterCrop, InterpolationMode, Resize

    images = pixels(2, *shape)
    got = resize_and_crop(images, Side(size, shorter, mode))
    wanted = CenterCrop(size)(Resize(shorter, InterpolationMode(mode), antialias=True)(images))
    assert torch.equal(got, wanted)
    assert str(Side(size, shorter, mode)) in describe("set", 2, 2, 0, Side(size, shorter, mode))


@pytest.mark.parametrize("crop", ["center", "squash", "border"])
def test_images_of_the_size_itself_are_scaled_where_more_is_asked_for_and_else_left(crop):
    images = pixels(2, 32, 32)
    assert resize_and_crop(images, Side(32, 32, "bicubic", crop)) is images
    assert not torch.equal(resize_and_crop(images, Side(32, 37, "bicubic", crop)), images)


def test_a_side_says_what_is_done_keeps_it_at_another_size_and_is_pickled():
    side = Side(32, 37, "bicubic", "border", (1, 2, 3))
    assert describe("set", 2, 2, 0, side) == "set, 2 images, at 32x32 of 37 (bicubic, with a border)"
    assert str(side.at(64)) == "64x64 of 74 (bicubic, with a border)"
    assert pickle.loads(pickle.dumps(side)).__dict__ == side.__dict__ == side.at(32).__dict__
    assert str(Side.of(8)) == str(Side(0).at(8)) == "8x8"
    assert str(Side(48, 54, height=64).at(24)) == "32x24 of 27"
    assert Side.of(side) is side
