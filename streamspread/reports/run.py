"""A stored result as a run: its network, training and data, and whether two runs can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import WHOLE

#: The parts of a layer after which it can be observed, and the suffixes of their taps' names.
LAYER_PARTS = {"conv": "", "bn": ".bn", "relu": ".relu"}

CONVOLUTION = re.compile(r"c\d+")

# In the description of a named source of data.
_COUNTED = re.compile(r", [\d,]+ (?:of [\d,]+ )?(?:images|texts)")
_SIZE = re.compile(r", at (\d+x\d+)")


class Difference(NamedTuple):
    """Why two runs cannot be compared, and what it is in either.

    ``what``: data; images (other ones, under one description); unknown (whether the data are the same);
    samples; or layers.
    """

    what: str
    a: str
    b: str


@dataclass(frozen=True)
class Data:
    """A run's data.

    Attributes:
        description: in words, as the provenance has it: "name, 5,000 of 50,000 images …, at 32x32".
        seen: a hash of what the network was given; None in files that have none.
    """

    description: str
    seen: str | None = None

    @property
    def name(self) -> str:
        """The description without the number of images: the data's name and image size."""
        name = _COUNTED.split(self.description)[0]
        size = _SIZE.search(self.description)
        return name + (size[0] if size and size.start() >= len(name) else "")

    @property
    def identified(self) -> bool:
        """Whether the description says which data they are, as that of a named source does. "tensor (100, 3,
        32, 32)", "DataLoader of Photos" or "batches from make" can be anything."""
        return _COUNTED.search(self.description) is not None

    def difference(self, other: Data, same_number: bool) -> Difference | None:
        """Why these are not the same data as others; None where they are.

        Where both hashes are known, of the same number of images, they decide. Else the descriptions do,
        where both identify their data.

        Args:
            same_number: whether both are of the same number of images.
        """
        if self.seen and other.seen and (same_number or self.seen == other.seen):
            if self.seen == other.seen:
                return None
            if self.name != other.name:
                return Difference("data", self.name, other.name)
            return Difference("images", self.description, other.description)
        if not (self.identified and other.identified):
            return Difference("unknown", self.name, other.name)
        return None if self.name == other.name else Difference("data", self.name, other.name)


class Training(NamedTuple):
    """How weights were trained, as far as the report tells trainings apart. The best of all epochs was kept.

    Attributes:
        epochs: 0 for random weights. ``label_smoothing``: of the loss.
        averaged: further epochs after which the mean of their weights was taken.
    """

    epochs: int
    label_smoothing: float = 0.0
    averaged: int = 0


@dataclass(frozen=True)
class Run:
    """A stored result, or what one has of a view, and its name: its file's, with the folder's before it where
    two are the same, and the view's behind it, unless that is the whole. Layers go by their own names.
    ``is_twin``: it is of the fresh weights that a network was analysed beside."""

    name: str
    path: Path
    spectra: Spectra
    view: str = WHOLE
    is_twin: bool = False

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts of its provenance; a file that was written from Python may have hardly any."""
        return self.spectra.provenance

    @property
    def study_part(self) -> str:
        """The part of the study that it belongs to; a result of ``run`` counts as one of the networks."""
        return str(self.facts.get("part") or "networks")

    @property
    def model(self) -> str:
        """The network's name, and the view; that of the file where it is not known."""
        model = self.facts.get("model")
        return in_view(str(model), self.view) if model else self.name

    @property
    def samples(self) -> int:
        """N, the number of images."""
        return max((layer.seen for layer in self.spectra.values()), default=0)

    @property
    def data(self) -> Data:
        """What is known of its data."""
        seen = self.facts.get("data_seen")
        return Data(str(self.facts.get("data") or "?"), str(seen) if seen else None)

    @property
    def note(self) -> Mapping[str, str]:
        """What the file of the weights says of their training; empty where they are random."""
        return self.facts.get("weights_note") or {}

    @property
    def accuracy(self) -> float | None:
        """The share of test images that are classified correctly, as the training measured it; None where it
        is not known."""
        try:
            return float(self.note["accuracy"])
        except (KeyError, ValueError):
            return None

    @property
    def training(self) -> Training | None:
        """How the weights were trained; None where it is not known, or not told by these few numbers."""
        if self.facts.get("weights") == "none":
            return Training(0)
        try:
            epochs, before = int(self.note["epochs"]), int(self.note.get("epochs_before", 0))
            smoothing = float(self.note["label_smoothing"])
            if float(self.note.get("label_smoothing_before", smoothing)) != smoothing:
                return None
        except (KeyError, ValueError):
            return None
        if "averaged" in self.note.get("schedule", ""):
            return Training(before, smoothing, epochs)
        return Training(before + epochs, smoothing)

    @property
    def network(self) -> tuple[str, str, str, str]:
        """Plan, weights, data and view: runs in which these are the same differ in the number of images at
        most. Data that nothing identifies are those of this run alone."""
        weights = self.facts.get("weights_sha256") or f"random {self.facts.get('seed')}"
        if self.facts.get("weights") is None:  # a module from Python, which has no file
            weights = self.facts.get("parameters_sha256") or weights
        data = (
            self.data.name if self.data.identified else self.data.seen or f"{self.data.name} of {self.name}"
        )
        return str(self.facts.get("plan") or self.model), str(weights), data, self.view

    def layers(self, part: str = "conv") -> dict[str, LayerSpectrum]:
        """The layers observed after one part (a key of LAYER_PARTS), by their names without its suffix, in
        network order.

        Where no convolution itself was observed, as in networks whose layers have other names, all layers
        count as convolutions, by their whole names.
        """
        split = self.depth > 0
        by_name = {name: _stem_and_part(name) if split else (name, "conv") for name in self.spectra}
        return {stem: self.spectra[name] for name, (stem, own) in by_name.items() if own == part}

    @property
    def convolutions(self) -> tuple[str, ...]:
        """c1 … cn: all convolutions of a network that is built from a plan, also those not observed. Without
        a plan, as many as were observed."""
        steps = re.split(r"[ ,]+", str(self.facts.get("plan") or ""))
        planned = sum(step.isdecimal() for step in steps)
        return tuple(f"c{i}" for i in range(1, (planned or self.depth) + 1))

    @property
    def depth(self) -> int:
        """The number of layers named c1, c2, …, which are convolutions of a network built from a plan."""
        return sum(CONVOLUTION.fullmatch(name) is not None for name in self.spectra)


def _stem_and_part(name: str) -> tuple[str, str]:
    """(c1, relu) for c1.relu; (name, conv) for any name that is no part of a convolution c1, c2, …"""
    for part, suffix in LAYER_PARTS.items():
        stem = name.removesuffix(suffix)
        if suffix and stem != name and CONVOLUTION.fullmatch(stem):
            return stem, part
    return name, "conv"


def differences(a: Run, b: Run) -> list[Difference]:
    """Why the K of two runs cannot be compared; empty where they can."""
    data = a.data.difference(b.data, same_number=a.samples == b.samples)
    reasons = [data] if data else []
    if a.samples != b.samples:
        reasons.append(Difference("samples", f"{a.samples:,}", f"{b.samples:,}"))
    if not set(a.spectra) & set(b.spectra):
        reasons.append(Difference("layers", ", ".join(a.spectra), ", ".join(b.spectra)))
    return reasons


def in_view(name: str, view: str) -> str:
    return name if view == WHOLE else f"{name}, {view}"
