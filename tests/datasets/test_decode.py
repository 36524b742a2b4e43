"""Tests of decoding: exact pixels, any Pillow format, broken images and differing sizes."""

import importlib.machinery
import importlib.util
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from streamspread.datasets.decode import _RGB, DecodedPixels, _jpeg_decoder
from streamspread.datasets.images import resize_and_crop
from streamspread.errors import DataError
from streamspread.system.memory import PeakMeter


def encode(array, form="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def photo(height=8, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Encoded:
    """Encoded images in a list."""

    labels = None
    classes = None

    def __init__(self, content):
        self.content = content

    def __len__(self):
        return len(self.content)

    def read_encoded(self, rows):
        return [self.content[row] for row in rows]

    def where(self, row):
        return f"image {row}"


def decoded(content, image_size=None):
    return DecodedPixels(Encoded(content), image_size).read(np.arange(len(content)))


def test_png_gives_the_very_pixels():
    photos = [photo(seed=i) for i in range(3)]
    got = decoded([encode(p) for p in photos])
    assert got.dtype == torch.uint8
    assert torch.equal(got, torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2))


def test_jpeg_gives_pillows_pixels_alone_and_mixed_with_png():
    photos = [photo(16, 24, seed=i) for i in range(4)]
    jpegs = [encode(p, "JPEG", quality=90) for p in photos]
    wanted = [np.array(Image.open(io.BytesIO(j)).convert("RGB")) for j in jpegs]
    wanted = torch.from_numpy(np.stack(wanted)).permute(0, 3, 1, 2)
    assert torch.equal(decoded(jpegs), wanted)
    mixed = decoded([*jpegs, encode(photos[0])])
    assert torch.equal(mixed[:4], wanted)


def test_the_decoder_is_torchvisions():
    from torchvision.io import ImageReadMode, decode_jpeg

    raw = torch.frombuffer(bytearray(encode(photo(16, 24), "JPEG")), dtype=torch.uint8)
    decode = _jpeg_decoder()
    assert decode is not None
    assert torch.equal(decode(raw, _RGB), decode_jpeg(raw, ImageReadMode.RGB))


@pytest.mark.parametrize("lacking", ["torchvision", "its library", "what it was built for"])
def test_without_torchvisions_decoder_pillow_reads_jpegs(lacking, monkeypatch, tmp_path):
    if lacking == "torchvision":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    else:
        found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
        if lacking == "what it was built for":
            (tmp_path / f"image{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    _jpeg_decoder.cache_clear()
    jpeg = encode(photo(16, 24), "JPEG")
    wanted = torch.from_numpy(np.array(Image.open(io.BytesIO(jpeg)))).permute(2, 0, 1)
    assert torch.equal(decoded([jpeg])[0], wanted)
    assert _jpeg_decoder() is None
    _jpeg_decoder.cache_clear()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP", "TIFF"])
def test_grey_images_become_three_equal_channels(form):
    grey = np.full((8, 8), 90, dtype=np.uint8)
    got = decoded([encode(grey, form)])
    assert got.shape == (1, 3, 8, 8)
    assert torch.all((got.int() - 90).abs() <= 1)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "none"])
def test_a_broken_image_is_named(form, damage):
    whole = encode(photo(32, 32), form)
    broken = {"cut": whole[: len(whole) // 3], "noise": whole[:4] + b"\0" * 60, "empty": b"", "none": None}[
        damage
    ]
    with pytest.raises(DataError, match=r"image 1 (cannot be decoded as an image|holds no image)") as caught:
        decoded([whole, broken, whole])
    assert "\n" not in str(caught.value)


def test_why_an_image_is_broken_names_no_object_of_python():
    said = r"^image 0 cannot be decoded as an image \(cannot identify image file\)$"
    with pytest.raises(DataError, match=said):
        decoded([encode(photo(32, 32), "JPEG")[:4] + b"\0" * 60])


def test_differing_sizes_need_an_image_size():
    content = [encode(photo(8, 8)), encode(photo(8, 12))]
    with pytest.raises(DataError, match="image 1 is 12x8 pixels, image 0 is 8x8; give an image size"):
        decoded(content)
    got = decoded(content, 6)
    assert got.shape == (2, 3, 6, 6)
    wanted = torch.from_numpy(photo(8, 12)).permute(2, 0, 1)[None]
    assert torch.equal(got[1:], resize_and_crop(wanted, 6))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_an_image_that_is_too_large_is_refused_by_its_header_alone(form):
    if form == "JPEG":
        small = encode(photo(), form)
        at = small.index(b"\xff\xc0")
        sides = (30_000).to_bytes(2) * 2
        huge = small[: at + 5] + sides + small[at + 9 :]
    else:
        buffer = io.BytesIO()
        Image.new("1", (20_000, 10_000)).save(buffer, form)
        huge = buffer.getvalue()
    with PeakMeter(torch.device("cpu")) as meter, pytest.raises(DataError, match=r"image 1 .*178,?956,?970"):
        decoded([encode(photo(), form), huge], 8)
    assert meter.peak < 64 << 20
