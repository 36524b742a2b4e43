"""Every text of a figure, a table or the page, by language, from the files ``languages/*.toml`` of all rooms.

A language that lacks a text has the English one. ``{noun}`` in a text stands for what samples are called.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.errors import OptionError
from streamspread.system.registry import folders

if TYPE_CHECKING:
    from streamspread.reports.run import Run, Training

Texts = Mapping[str, str]

ENGLISH = "en"
#: What samples are called where a result does not say it.
IMAGES = "images"


def languages() -> list[str]:
    """The languages that there are, English first."""
    names = {path.stem for path in _files("*.toml")}
    return [ENGLISH, *sorted(names - {ENGLISH})]


def texts_in(lang: str, samples: str = IMAGES) -> Texts:
    """The texts of a language by key; some have {names} in them, for ``str.format``. ``samples``: what
    samples are, "images", "texts" or "samples".

    Raises:
        OptionError: there is no such language.
    """
    if lang not in languages():
        raise OptionError(f"language {lang!r} is not there: choose from {', '.join(languages())}")
    return _texts(lang, samples)


@cache
def _texts(lang: str, samples: str) -> Texts:
    texts: dict[str, str] = {}
    for name in dict.fromkeys((ENGLISH, lang)):
        content: dict[str, Any] = {}
        for path in _files(f"{name}.toml"):
            content |= tomllib.loads(path.read_text(encoding="utf-8"))
        nouns = content.pop("nouns")
        words = nouns.get(samples, nouns[IMAGES])
        for key, text in content.items():
            for place, word in words.items():
                text = text.replace(f"{{{place}}}", word)
            texts[key] = text
    return texts


def _files(pattern: str) -> Iterable[Path]:
    for places in folders("streamspread.*.languages").values():
        for place in places:
            yield from Path(place).glob(pattern)


def common_noun(runs: Iterable[Run]) -> str:
    """What the samples of some runs are called, by a word that is right for all of them."""
    nouns = {str(run.spectra.provenance.get("samples_are", IMAGES)) for run in runs} or {IMAGES}
    return nouns.pop() if len(nouns) == 1 else "samples"


def training_label(training: Training, texts: Texts) -> str:
    """A training in words."""
    epochs, smoothing, averaged = training
    if not epochs and not averaged:
        return texts["untrained"]
    trained = texts["epoch" if epochs == 1 else "epochs"].format(epochs=epochs)
    if averaged:
        trained = texts["averaged"].format(trained=trained, averaged=averaged)
    return texts["smoothed"].format(trained=trained, smoothing=f"{smoothing:g}") if smoothing else trained
