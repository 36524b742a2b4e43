"""The paper's claims, judged by spectra: the numbers behind each claim, and whether it holds.

A claim is about CIFAR-10 and about all of its images, so a verdict needs both. Spectra of other data are
shown and not judged. Nor are those of fewer than ``limits.FEWEST`` images, and where there are more, the
verdict must stay the same whatever K of each layer is between what was found and the most that it may become
with more images (``limits.reach``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from streamspread.reports.limits import FEWEST, reach
from streamspread.reports.runs import Collection, Run, Training, short_names
from streamspread.results.interval import Interval
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.views import WHOLE

TAU = 0.7  # the paper's threshold
EARLY_SHARE = 0.01  # of the dimensions: the paper's early layers spread over no more
EQUAL_NETWORK, EQUAL_LAYERS = "no3", ("c3", "c4", "c5", "c6")  # these layers of no3 have the same D

NETWORKS = ("no1", "no2", "no3", "no4")

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

    def farthest(self, name: str) -> Interval:
        """K(τ)/D of a layer up to the most that it may become with more images."""
        layer = self.layers[name]
        return Interval(layer.spread(self.tau).low, reach(layer, self.tau) / layer.dim)


def evaluate(networks: Sequence[Run], tau: float = TAU, part: str = "conv") -> tuple[Claim, ...]:
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
        run.facts.get("model") in NETWORKS and run.view == WHOLE and not run.is_twin and run.data.is_cifar10
        for run in networks
    )


@dataclass(frozen=True)
class Case:
    """The claims under a circumstance: ``kind`` is tau, part (of layers) or training; ``value``: which."""

    kind: str
    value: float | str | Training
    claims: tuple[Claim, ...]


def dependence(collection: Collection) -> tuple[Case, ...]:
    """The claims under every circumstance: at each threshold that the networks were run for, after each part
    of a layer, and for each training."""
    networks = collection.networks
    thresholds = sorted({tau for run in networks for tau in run.spectra.thresholds})
    cases = [Case("tau", tau, evaluate(networks, tau)) for tau in thresholds]
    cases += [
        Case("part", part, evaluate(networks, TAU, part))
        for part in ("bn", "relu")
        if any(run.layers(part) for run in networks)
    ]
    cases += [Case("training", training, evaluate(runs)) for training, runs in collection.trainings.items()]
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
    network: _Network, names: Iterable[str], judge: Callable[[Shares], dict[str, Verdict]]
) -> Evidence:
    """A network's numbers for a claim, and what ``judge`` says of them, as far as the data bear it."""
    shares = network.shares(names)
    verdicts = judge(shares)
    found = Evidence(
        network=network.name,
        spreads=shares,
        dims={name: network.layers[name].dim for name in shares},
        fails=(),
        unsettled=(),
        verdict=Verdict.other_data if verdicts else Verdict.absent,
    )
    if not verdicts or not network.run.data.is_cifar10:
        return found
    farther = judge({name: network.farthest(name) for name in shares})
    few = network.run.samples < FEWEST
    for key, verdict in verdicts.items():
        if verdict is not Verdict.unclear and (few or farther[key] is not verdict):
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
