"""Every language has every text, with the same places to be filled."""

import re
from pathlib import Path

import pytest

import streamspread
from streamspread.errors import OptionError
from streamspread.reports.run import Training
from streamspread.reports.texts import languages, texts_in, training_label

PACKAGE = Path(streamspread.__file__).parent


def places(text):
    return set(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize("lang", languages())
def test_every_language_has_every_text_with_its_places(lang):
    texts = texts_in(lang)
    assert set(texts) == set(texts_in("en"))
    assert {key: places(text) for key, text in texts.items()} == {
        key: places(texts_in("en")[key]) for key in texts_in("en")
    }
    assert all(texts.values())


def test_japanese_texts_are_japanese():
    same = {key for key, text in texts_in("ja").items() if text == texts_in("en")[key]}
    assert same <= {
        "spread",
        "part_relu",
        "short_c3_over_c2",
        "case_tau",
        "case_training",
        "run_a",
        "run_b",
        "change",
    }


def test_every_text_is_used():
    files = [path for path in PACKAGE.rglob("*.*") if path.suffix in (".py", ".js", ".html")]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    # with a name that comes later
    composed = ("claim_", "short_", "verdict_", "part_", "case_", "compare_", "metric_")
    used = re.compile(r"""texts\.(\w+)|["'](\w+)["']""")
    names = {name for groups in used.findall(code) for name in groups if name}
    assert [key for key in texts_in("en") if key not in names and not key.startswith(composed)] == []


def test_an_unknown_language_is_refused():
    with pytest.raises(OptionError, match="language 'fr' is not there: choose from en, ja"):
        texts_in("fr")


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (Training(0), "untrained"),
        (Training(1, 0.1), "1 epoch, label smoothing 0.1"),
        (Training(24), "24 epochs"),
        (Training(24, 0.1), "24 epochs, label smoothing 0.1"),
        (Training(60, 0.0, 12), "60 epochs, then the mean over 12 more"),
    ],
)
def test_trainings_in_words(training, words):
    assert training_label(training, texts_in("en")) == words
