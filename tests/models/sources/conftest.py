"""A cache of the hub of the test's own, in which there is what the test puts there, and no network."""

import importlib.util
import shutil

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The cache, and a function that puts a folder's files into it as the model of a name."""
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    if importlib.util.find_spec("transformers"):  # before its version 5 it had a name of its own for it
        monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(cache), raising=False)

    def no_network(url):
        raise OSError("no network in tests")

    monkeypatch.setattr("streamspread.models.hub.expect_answer", no_network)

    def put(name, folder):
        place = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, place / "snapshots" / COMMIT)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text(COMMIT)

    put.cache, put.commit = cache, COMMIT
    return put
