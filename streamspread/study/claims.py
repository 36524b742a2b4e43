"""The paper's claims, judged by spectra: the numbers behind each claim, and whether it holds.

A claim is about CIFAR-10 and about all of its images, so a verdict needs both. Spectra of other data are
shown and not judged, and neither are those of fewer than :data:`FEWEST` images. The verdict must not depend
on the number of images. K grows with it. So every K is tried from the measured value up to
:func:`upper_limit`. If the verdict changes in this range, it is "not settled".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from streamspread.reports.collection import Collection, short_names
from streamspread.reports.run import Data, Run, Training
from streamspread.results.interval import Interval
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.views import WHOLE

TAU = 0.7  # the paper's threshold
EARLY_SHARE = 0.01  # of the dimensions: the paper's early layers spread over no more
EQUAL_NETWORK, EQUAL_LAYERS = "no3", ("c3", "c4", "c5", "c6")  # these layers of no3 have the same D

NETWORKS = ("no1", "no2", "no3", "no4")

FEWEST = 1_000  # images: no claim is judged by fewer
#: 1/K falls towards its value for all images by at most so many times 1/(τ·(N − 1)), which is by how much it
#: does for noise in very many dimensions. From 1,000 or more of CIFAR-10's images to all 50,000, K(0.7) asks
#: for 2.2 at the most, in every layer of no1, no2 and no3.
MAX_DECREASE_OF_INVERSE = 3.0

_CIFAR10 = re.compile(r"cifar[-_]?10(?:[-_]?jpe?g)?", re.IGNORECASE)
_CIFAR10_SIZE = "32x32"

Shares = Mapping[str, Interval]


class Verdict(StrEnum):
    """Whether a claim holds.

    ``unclear``: the intervals are too wide to say. ``unsettled``: the images are too few. ``other_data``: the
    data are not known to be CIFAR-10. ``absent``: there is no network to judge it by.
    """

    holds = "holds"
    fails = "fails"
    unclear = "unclear"
    unsettled = "unsettled"
    other_data = "other_data"
    absent = "absent"


@dataclass(frozen=True)
class Evidence:
    """One network's numbers for a claim.

    Attributes:
        network: its name.
        spreads, dims: K(τ)/D and D of the layers that the claim is about.
        fails: the layers, or pairs of layers from shallow to deep, that contradict the claim.
        unsettled: those for which the images are too few.
        verdict: of this network alone.
    """

    network: str
    spreads: Mapping[str, Interval]
    dims: Mapping[str, int]
    fails: tuple[str, ...]
    unsettled: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, whose words are in the texts as ``claim_NAME``, with each network's evidence."""

    name: str
    tau: float
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> Verdict:
        """Of all networks together; those of other data only count where there are no others."""
        verdicts = [evidence.verdict for evidence in self.evidence]
        return _worst([verdict for verdict in verdicts if verdict is not Verdict.other_data] or verdicts)


@dataclass(frozen=True)
class _Network:
    """A network as it is judged, with its layers after one part."""

    name: str
    run: Run
    layers: Mapping[str, LayerSpectrum]
    tau: float

    def shares(self, names: Iterable[str]) -> dict[str, Interval]:
        """K(τ)/D of these layers."""
        return {name: self.layers[name].spread(self.tau) for name in names}

    def largest_share(self, name: str) -> Interval:
        """K(τ)/D of a layer up to the most that it may become with more images."""
        layer = self.layers[name]
        return Interval(layer.spread(self.tau).low, upper_limit(layer, self.tau) / layer.dim)


def judge(networks: Sequence[Run], tau: float = TAU, part: str = "conv") -> tuple[Claim, ...]:
    """The four claims for these networks.

    A claim about all layers is judged only by networks of which every convolution was observed. Global
    average pooling has neither batch norm nor ReLU, so it is left out where ``part`` is one of these. Views
    say nothing of the paper's vectors, which are whole outputs, and random twins nothing of its networks.

    Args:
        tau: the threshold. ``part``: after which part of their layers the networks are compared, a key of
            ``LAYER_PARTS``.
    """
    named = {
        name: _Network(name, run, run.layers(part), tau)
        for name, run in short_names(networks).items()
        if run.view == WHOLE and not run.is_twin and run.layers(part)
    }
    whole = [
        network
        for network in named.values()
        if network.run.convolutions and set(network.run.convolutions) <= set(network.layers)
    ]
    with_both = [network for network in named.values() if _has_c2_of_more_dimensions(network.layers)]
    with_equal = [
        network
        for network in named.values()
        if network.run.model == EQUAL_NETWORK and set(EQUAL_LAYERS) <= set(network.layers)
    ]
    evidence = {
        "early": [_evidence(network, _first_half(network), _small) for network in whole],
        "grows": [_evidence(network, _to_the_end(network), _growing) for network in whole],
        "c3_over_c2": [_evidence(network, ("c2", "c3"), _growing) for network in with_both],
        "equal_dims": [_evidence(network, EQUAL_LAYERS, _growing) for network in with_equal],
    }
    return tuple(Claim(name, tau, tuple(by_network)) for name, by_network in evidence.items())


def of_paper(networks: Iterable[Run]) -> bool:
    """Whether any is one of the paper's networks, seen whole, on its kind of data; others it leaves out."""
    return any(
        run.facts.get("model") in NETWORKS and run.view == WHOLE and not run.is_twin and is_cifar10(run.data)
        for run in networks
    )


@dataclass(frozen=True)
class Condition:
    """The claims under a circumstance: ``kind`` is tau, part (of layers) or training; ``value``: which."""

    kind: str
    value: float | str | Training
    claims: tuple[Claim, ...]


def judge_under_conditions(collection: Collection) -> tuple[Condition, ...]:
    """The claims under every circumstance: at each threshold that the networks were run for, after each part
    of a layer, and for each training."""
    networks = collection.networks
    thresholds = sorted({tau for run in networks for tau in run.spectra.thresholds})
    cases = [Condition("tau", tau, judge(networks, tau)) for tau in thresholds]
    cases += [
        Condition("part", part, judge(networks, TAU, part))
        for part in ("bn", "relu")
        if any(run.layers(part) for run in networks)
    ]
    cases += [
        Condition("training", training, judge(runs)) for training, runs in trainings(collection).items()
    ]
    return tuple(cases)


def _first_half(network: _Network) -> Sequence[str]:
    convolutions = network.run.convolutions
    return convolutions[: (len(convolutions) + 1) // 2]


def _to_the_end(network: _Network) -> Sequence[str]:
    return [layer for layer in (*network.run.convolutions, "gap") if layer in network.layers]


def _has_c2_of_more_dimensions(layers: Mapping[str, LayerSpectrum]) -> bool:
    return "c2" in layers and "c3" in layers and layers["c2"].dim > layers["c3"].dim


def _small(shares: Shares) -> dict[str, Verdict]:
    """Every layer spreads over at most 1 % of its dimensions."""
    return {
        name: _verdict(holds=share.high <= EARLY_SHARE, fails=share.low > EARLY_SHARE)
        for name, share in shares.items()
    }


def _growing(shares: Shares) -> dict[str, Verdict]:
    """Every layer's share is larger than that of the one before it."""
    return {f"{a} → {b}": _larger(shares[b], shares[a]) for a, b in pairwise(shares)}


def _evidence(
    network: _Network, names: Iterable[str], rule: Callable[[Shares], dict[str, Verdict]]
) -> Evidence:
    """A network's numbers for a claim, and what ``rule`` says of them, as far as the data bear it."""
    shares = network.shares(names)
    verdicts = rule(shares)
    found = Evidence(
        network=network.name,
        spreads=shares,
        dims={name: network.layers[name].dim for name in shares},
        fails=(),
        unsettled=(),
        verdict=Verdict.other_data if verdicts else Verdict.absent,
    )
    if not verdicts or not is_cifar10(network.run.data):
        return found
    at_most = rule({name: network.largest_share(name) for name in shares})
    few = network.run.samples < FEWEST
    for key, verdict in verdicts.items():
        if verdict is not Verdict.unclear and (few or at_most[key] is not verdict):
            verdicts[key] = Verdict.unsettled
    return replace(
        found,
        fails=tuple(key for key, verdict in verdicts.items() if verdict is Verdict.fails),
        unsettled=tuple(key for key, verdict in verdicts.items() if verdict is Verdict.unsettled),
        verdict=_worst(list(verdicts.values())),
    )


def _larger(b: Interval, a: Interval) -> Verdict:
    return _verdict(holds=b.low > a.high, fails=b.high <= a.low)


def _verdict(*, holds: bool, fails: bool) -> Verdict:
    return Verdict.holds if holds else Verdict.fails if fails else Verdict.unclear


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of several together: one that fails is enough, and to hold all must hold."""
    for verdict in (Verdict.fails, Verdict.unclear, Verdict.unsettled, Verdict.other_data):
        if verdict in verdicts:
            return verdict
    return Verdict.holds if Verdict.holds in verdicts else Verdict.absent


def is_cifar10(data: Data) -> bool:
    """Whether data are called CIFAR-10, also compressed again as JPEG, at the size that it has: a word of the
    name, or a part of the path, is that name."""
    name, _, size = data.name.partition(", at ")
    words = re.split(r"[\s/\\,]+", name)
    return size in ("", _CIFAR10_SIZE) and any(_CIFAR10.fullmatch(word) for word in words)


def depths(collection: Collection) -> tuple[Run, ...]:
    """Networks of different depths, shallow ones first."""
    return tuple(
        sorted((run for run in collection.runs if run.study_part == "depth"), key=lambda run: run.depth)
    )


def trainings(collection: Collection) -> dict[Training, tuple[Run, ...]]:
    """Networks by their training, short trainings first. Besides the runs made for this comparison, it has
    the models' usual networks, where their weights are others."""
    trained = [run for run in collection.runs if run.study_part == "training"]
    models = {run.model for run in trained}
    also = [run for run in collection.networks if run.study_part == "networks" and run.model in models]
    groups: dict[Training, dict[tuple[str, ...], Run]] = {}
    for run in trained + also:
        if run.training is not None and not run.is_twin:
            groups.setdefault(run.training, {}).setdefault(run.network, run)
    return {training: tuple(groups[training].values()) for training in sorted(groups)}


def upper_limit(layer: LayerSpectrum, tau: float) -> float:
    """The largest K(τ) that any number of images may give: its estimate and the estimate's error; without an
    estimate, what :data:`MAX_DECREASE_OF_INVERSE` allows; else all directions that the layer has."""
    high = layer.components(tau).high
    estimated = layer.estimate(tau)
    if estimated is not None:
        most = max(high, estimated.value + estimated.half_width) if estimated.told else layer.directions
        return min(most, layer.directions)
    limit = tau * (layer.samples - 1) / MAX_DECREASE_OF_INVERSE
    if layer.samples < FEWEST or high >= limit:
        return layer.directions
    return min(high / (1 - high / limit), layer.directions)
