"""Files that were cut off, damaged or mistaken for others."""

import io
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from PIL import Image

import streamspread
from streamspread import store
from streamspread.models.network import build
from streamspread.models.plans import parse_plan
from streamspread.models.weights import rounded_state, save_weights

MODEL = ["--model", "plan:2,M", "--device", "cpu"]
SMALL = ["--samples", "4", "--image-size", "8", "--layers", "c1", "--quiet"]
RUN = ["run", *MODEL, "--weights", "none", "--data", "noise", *SMALL, "--out", "made.arrow"]


class Stop(Exception):
    """Ends a run."""


def whole(folder):
    """A file of each kind, as it is written, by its name."""
    network = build(parse_plan([2, "M"]), 0)
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    spectra = streamspread.analyze(network, x, "c1", (0.5, 0.9), device="cpu", directions=2)
    store.write(spectra, folder / "whole.arrow")
    store.write_grams(streamspread.grams(network, x, "*", device="cpu"), folder / "grams.safetensors")
    state = rounded_state(network)
    save_weights(state, folder / "weights.safetensors", {"plan": "2,M"})
    torch.save(state, folder / "weights.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    for kind in ("png", "jpg", "gif", "bmp", "webp"):
        Image.fromarray(pixels).save(folder / f"image.{kind}")
    images = [{"bytes": _png(pixels), "path": None}] * 4
    table = pa.table({"img": images, "label": [0, 1, 0, 1]})
    pa.parquet.write_table(table, folder / "train.parquet")
    _checkpoint(folder)


def _checkpoint(folder):
    """That of RUN, which was ended."""
    from streamspread.cli import main
    from streamspread.engine.checkpoints import Keeper

    real, here = Keeper.offer, os.getcwd()

    def stop(keeper, state):
        keeper.keep(state)
        raise KeyboardInterrupt

    os.chdir(folder)
    Keeper.offer = stop
    try:
        assert main([*RUN, "--checkpoint", "run.checkpoint"]) == 130
    finally:
        Keeper.offer = real
        os.chdir(here)
    for made in folder.glob("made*.arrow"):
        made.unlink()


def _png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def damaged(random, content):
    """The bytes, not as they were."""
    content = bytearray(content)
    size = len(content)
    kind = random.choice(
        ["bit", "bits", "cut", "zeros", "doubled", "grown", "header", "noise", "empty", "text", "tail"]
    )
    at = random.randrange(size)
    if kind == "bit":
        content[at] ^= 1 << random.randrange(8)
    elif kind == "bits":
        for _ in range(random.randint(2, 30)):
            content[random.randrange(size)] ^= 1 << random.randrange(8)
    elif kind == "cut":
        del content[at:]
    elif kind == "zeros":
        content[at : at + 64] = bytes(min(64, size - at))
    elif kind == "doubled":
        content[at:at] = content[at : at + 200]
    elif kind == "grown":
        content += random.randbytes(random.randint(1, 500))
    elif kind == "header":
        content[: min(8, size)] = random.randbytes(min(8, size))
    elif kind == "noise":
        content[at : at + 16] = random.randbytes(min(16, size - at))
    elif kind == "empty":
        content = bytearray()
    elif kind == "text":
        content = bytearray(b'{"format": 1}')
    elif kind == "tail":
        del content[:at]
    return bytes(content)


def _made(random, folder, name, target):
    """A file that is not what it says: damaged, another kind, a folder, a pipe, a loop."""
    path = folder / target
    kind = random.choice(["damaged"] * 12 + ["other", "other", "folder", "pipe", "loop", "missing"])
    if kind == "damaged":
        path.write_bytes(damaged(random, (folder.parent / "whole" / name).read_bytes()))
    elif kind == "other":
        shutil.copy(random.choice(sorted((folder.parent / "whole").iterdir())), path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    return path.name


def arrow(random, folder):
    name = _made(random, folder, "whole.arrow", "x.arrow")
    return ["show", name] if random.random() < 0.95 else ["report", name, "--out", "page"]


def grams(random, folder):
    name = _made(random, folder, "grams.safetensors", "x.safetensors")
    return ["cka", name] if random.random() < 0.6 else ["cka", name, "../whole/grams.safetensors"]


def weights(random, folder):
    suffix = random.choice(["safetensors", "pt"])
    name = _made(random, folder, f"weights.{suffix}", f"w.{suffix}")
    return ["plan", *MODEL, "--weights", name, "--data", "noise", "--samples", "4", "--image-size", "8"]


def checkpoints(random, folder):
    return [*RUN, "--checkpoint", _made(random, folder, "run.checkpoint", "kept")]


def images(random, folder):
    suffix = random.choice(["png", "jpg", "gif", "bmp", "webp"])
    (folder / "photos" / "a").mkdir(parents=True)
    shutil.copy(folder.parent / "whole" / "image.png", folder / "photos" / "a" / "0.png")
    _made(random, folder, f"image.{suffix}", f"photos/a/1.{suffix}")
    return ["run", *MODEL, "--weights", "none", "--data", "folder:photos", *SMALL[2:], "--out", "made.arrow"]


def parquet(random, folder):
    name = _made(random, folder, "train.parquet", "train.parquet")
    return ["run", *MODEL, "--weights", "none", "--data", f"parquet:{name}", *SMALL, "--out", "made.arrow"]
