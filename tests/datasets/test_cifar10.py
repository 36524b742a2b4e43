"""Tests of CIFAR-10: torchvision's files read as they are, the download, and no network."""

import hashlib
import http.server
import os
import pickle
import socket
import sys
import tarfile
import threading
import time
import urllib.error

import numpy as np
import pytest
import torch
import torchvision.datasets

from streamspread.datasets import default, load
from streamspread.datasets.sources import cifar10
from streamspread.errors import DataError
from streamspread.system.progress import telling
from tests.serving import Server

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def pixels(name):
    seed = int.from_bytes(name.encode()[-4:], "big")
    return np.random.default_rng(seed).integers(0, 256, (4, 3072), dtype=np.uint8)


@pytest.fixture
def tiny(tmp_path_factory, monkeypatch):
    """A tiny CIFAR-10 in torchvision's layout, four images a file; torchvision is told its checksums."""
    kept = tmp_path_factory.mktemp("tiny")
    folder = kept / FOLDER
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name in names:
        (folder / name).write_bytes(pickle.dumps({"data": pixels(name), "labels": [0, 1, 2, 3]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b", "c", "d"]}))
    archive = kept / ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, FOLDER)

    class TinyCIFAR10(torchvision.datasets.CIFAR10):
        train_list = [[name, md5(folder / name)] for name in names[:5]]  # noqa: RUF012 - as torchvision has it
        test_list = [["test_batch", md5(folder / "test_batch")]]  # noqa: RUF012
        meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(folder / "batches.meta")}  # noqa: RUF012
        tgz_md5 = md5(archive)

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", TinyCIFAR10)
    return kept


@pytest.fixture
def server(tiny, monkeypatch):
    """Serves tiny's archive on this machine, as the place to download it from; the folder that it serves."""
    served = tiny / "served"
    served.mkdir()
    (served / ARCHIVE).write_bytes((tiny / ARCHIVE).read_bytes())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(served))

        def log_message(self, *args):
            pass

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        url = f"http://127.0.0.1:{running.server_port}/{ARCHIVE}"
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
        monkeypatch.setattr(cifar10, "URL", url)
        yield served
        running.shutdown()
        thread.join()


@pytest.fixture
def offline(monkeypatch):
    """urllib as it is without a network."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def wanted(split):
    names = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
    return torch.from_numpy(np.concatenate([pixels(n) for n in names])).reshape(-1, 3, 32, 32)


@pytest.mark.parametrize("split", ["train", "test"])
def test_files_that_are_there_are_read(tiny, offline, split):
    data = load(f"cifar10:{tiny}", split)
    assert torch.equal(data.images, wanted(split))
    assert data.images.is_contiguous()
    assert data.labels.tolist() == [0, 1, 2, 3] * (len(data.images) // 4)
    assert data.classes == ("a", "b", "c", "d")
    assert data.description == f"CIFAR-10 {split}, {len(data.images)} images"


def test_the_root_is_taken_from_the_environment(tiny, offline, monkeypatch):
    monkeypatch.setenv("STREAMSPREAD_DATA", str(tiny))
    assert torch.equal(load("cifar10").images, wanted("train"))
    monkeypatch.delenv("STREAMSPREAD_DATA")
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(cifar10.default_root()) == "/somewhere/.cache/streamspread"


def test_it_is_downloaded_quietly_and_whole(server, tmp_path, capfd):
    root = tmp_path / "new" / "root"
    before = socket.getdefaulttimeout()
    data = load(f"cifar10:{root}", "test")
    assert torch.equal(data.images, wanted("test"))
    assert os.listdir(root) == [FOLDER]
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() == before


def test_a_download_is_told_and_stderr_stays_whose_it_is(server, tmp_path, capfd):
    told = []

    def tell(event):
        told.append(event)
        print("told", file=sys.stderr)

    with telling(tell):
        load(f"cifar10:{tmp_path / 'root'}", "test")
    last = [event for event in told if event.stage == "download"][-1]
    assert (last.done, last.total, last.unit) == (0, 0, "MB")  # less than a megabyte
    assert capfd.readouterr() == ("", "told\n" * len(told))


def test_an_archive_that_is_there_is_unpacked_without_a_network(tiny, tmp_path, offline):
    (tmp_path / ARCHIVE).write_bytes((tiny / ARCHIVE).read_bytes())
    assert torch.equal(load(f"cifar10:{tmp_path}", "test").images, wanted("test"))
    assert sorted(os.listdir(tmp_path)) == [FOLDER, ARCHIVE]


def test_a_download_that_breaks_off_leaves_nothing_and_is_one_line(server, tmp_path, capfd):
    (server / ARCHIVE).write_bytes((server / ARCHIVE).read_bytes()[:100])
    root = tmp_path / "root"
    with pytest.raises(
        DataError, match=r"cannot be downloaded \(File not found or corrupted.\); give"
    ) as caught:
        load(f"cifar10:{root}")
    assert "\n" not in str(caught.value)
    assert os.listdir(root) == []
    assert capfd.readouterr() == ("", "")


def test_without_a_network_it_fails_in_one_line(tmp_path, offline):
    said = (
        r"CIFAR-10 is not in .*root and cannot be downloaded \(.*Name or service not known\); give cifar10:"
    )
    with pytest.raises(DataError, match=said) as caught:
        load(f"cifar10:{tmp_path / 'root'}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "root").exists()


def test_a_network_that_never_answers_is_given_up(tmp_path, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: over.wait(60))
    answer = cifar10.expect_answer
    monkeypatch.setattr(cifar10, "expect_answer", lambda url: answer(url, 0.2))
    start = time.monotonic()
    with pytest.raises(DataError, match=r"cannot be downloaded \(no answer within 0.2 s\)"):
        load(f"cifar10:{tmp_path}")
    assert time.monotonic() - start < 30
    over.set()


def test_files_that_are_broken_are_not_replaced(tiny, offline, tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "test_batch").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"CIFAR-10 in .*cifar-10-batches-py is broken: remove it"):
        load(f"cifar10:{tmp_path}")
    assert (tmp_path / FOLDER / "test_batch").read_bytes() == b"mine"


def test_default_is_cifar10_where_it_is(tiny, offline, monkeypatch):
    monkeypatch.setenv("STREAMSPREAD_DATA", str(tiny))
    data, message = default("test")
    assert message is None
    assert torch.equal(data.images, wanted("test"))


def test_default_is_patches_elsewhere_and_says_why(tmp_path, offline, monkeypatch):
    monkeypatch.setenv("STREAMSPREAD_DATA", str(tmp_path))
    data, message = default("test", samples=20, seed=1, image_size=40)
    assert data.description == "patches test, 20 of 10,000 images (seed 1), at 40x40"
    assert message.startswith(f"CIFAR-10 is not in {tmp_path} and cannot be downloaded (")
    assert message.endswith("using patches instead: crops of the two photographs that scikit-learn ships")
    assert "\n" not in message
