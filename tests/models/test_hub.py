"""The hub: its cache first, then the hub itself where it answers, and one line where neither has it."""

import pytest

from streamspread.errors import ModelError
from streamspread.models import hub
from streamspread.models.hub import from_hub

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--google--vit").mkdir()
    return tmp_path


@pytest.fixture
def answers(monkeypatch):
    monkeypatch.setattr(hub, "expect_answer", lambda url: None)


def test_what_the_cache_has_is_not_asked_for(cache):
    assert from_hub(lambda: constants.HF_HUB_OFFLINE, "it", ModelError) is True
    assert constants.HF_HUB_OFFLINE is False


def test_what_the_cache_has_not_is_asked_for_where_the_hub_answers(cache, answers):
    def load():
        if constants.HF_HUB_OFFLINE:
            raise FileNotFoundError("not there")
        return "found"

    assert from_hub(load, "it", ModelError) == "found"


def missing():
    raise FileNotFoundError("404: no such thing\nand more")


def test_what_neither_has_is_one_line(cache, answers):
    with pytest.raises(
        ModelError,
        match=rf"^it: not in the cache {cache}, and https://\S+ does not give it \(404: no such thing\), did "
        r"you mean 'google/vit'\?$",
    ):
        from_hub(missing, "it", ModelError, "google/vitt")


def test_a_hub_that_is_switched_off_is_not_asked(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"^it: not in the cache .*, and HF_HUB_OFFLINE is set$"):
        from_hub(missing, "it", ModelError)


def test_other_failures_pass_through(cache):
    def broken():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        from_hub(broken, "it", ModelError)
    assert constants.HF_HUB_OFFLINE is False
