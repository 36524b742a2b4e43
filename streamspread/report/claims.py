"""The paper's claims, judged by spectra: the numbers behind each claim, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from streamspread.report.runs import Collection, Run, Training, short_names
from streamspread.results.spectrum import Interval, LayerSpectrum

TAU = 0.7  # the paper's threshold
EARLY_SHARE = 0.01  # of the dimensions: the paper's early layers spread over no more
EQUAL_NETWORK, EQUAL_LAYERS = "no3", ("c3", "c4", "c5", "c6")  # these layers of no3 have the same D


class Verdict(StrEnum):
    """Whether a claim holds. ``unclear``: the intervals are too wide to say. ``absent``: there is no network
    to judge it by."""

    holds = "holds"
    fails = "fails"
    unclear = "unclear"
    absent = "absent"


@dataclass(frozen=True)
class Evidence:
    """One network's numbers for a claim.

    Attributes:
        network: its name.
        spreads, dims: K(τ)/D and D of the layers that the claim is about.
        fails: the layers, or pairs of layers from shallow to deep, that contradict the claim.
        verdict: of this network alone.
    """

    network: str
    spreads: Mapping[str, Interval]
    dims: Mapping[str, int]
    fails: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, whose words are in the texts as ``claim_NAME``, with each network's evidence."""

    name: str
    tau: float
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> Verdict:
        """Of all networks together."""
        return _worst([evidence.verdict for evidence in self.evidence])


def evaluate(networks: Sequence[Run], tau: float = TAU, part: str = "conv") -> tuple[Claim, ...]:
    """The four claims for these networks.

    A claim about all layers is judged only by networks of which every convolution was observed. Global
    average pooling has neither batch norm nor ReLU, so it is left out where ``part`` is one of these.

    Args:
        tau: the threshold. ``part``: after which part of their layers the networks are compared, a key of
            ``LAYER_PARTS``.
    """
    named = {name: run for name, run in short_names(networks).items() if run.layers(part)}
    layers = {name: run.layers(part) for name, run in named.items()}
    whole = {
        name: run.convolutions
        for name, run in named.items()
        if run.convolutions and set(run.convolutions) <= set(layers[name])
    }
    to_the_end = {
        name: [layer for layer in (*convolutions, "gap") if layer in layers[name]]
        for name, convolutions in whole.items()
    }
    with_both = [name for name in layers if _has_c2_of_more_dimensions(layers[name])]
    with_equal = [
        name
        for name in layers
        if named[name].model == EQUAL_NETWORK and set(EQUAL_LAYERS) <= set(layers[name])
    ]
    evidence = {
        "early": [_early(name, layers[name], tau, convolutions) for name, convolutions in whole.items()],
        "grows": [_grows(name, layers[name], tau, names) for name, names in to_the_end.items()],
        "c3_over_c2": [_c3_over_c2(name, layers[name], tau) for name in with_both],
        "equal_dims": [_grows(name, layers[name], tau, EQUAL_LAYERS) for name in with_equal],
    }
    return tuple(Claim(name, tau, tuple(by_network)) for name, by_network in evidence.items())


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
    cases += [
        Case("training", training, evaluate(runs, TAU)) for training, runs in collection.trainings.items()
    ]
    return tuple(cases)


def _early(
    network: str, layers: Mapping[str, LayerSpectrum], tau: float, convolutions: Sequence[str]
) -> Evidence:
    """The first half of the convolutions spread over at most 1 % of their dimensions."""
    early = convolutions[: (len(convolutions) + 1) // 2]
    spreads = {name: layers[name].spread(tau) for name in early}
    verdicts = {
        name: _verdict(holds=spread.high <= EARLY_SHARE, fails=spread.low > EARLY_SHARE)
        for name, spread in spreads.items()
    }
    return _evidence(network, layers, spreads, verdicts)


def _grows(network: str, layers: Mapping[str, LayerSpectrum], tau: float, names: Sequence[str]) -> Evidence:
    """Every layer's spread is larger than that of the one before it."""
    spreads = {name: layers[name].spread(tau) for name in names}
    verdicts = {f"{a} → {b}": _larger(spreads[b], spreads[a]) for a, b in pairwise(names)}
    return _evidence(network, layers, spreads, verdicts)


def _c3_over_c2(network: str, layers: Mapping[str, LayerSpectrum], tau: float) -> Evidence:
    """c3 spreads over a larger share than c2, although c2 has more dimensions."""
    spreads = {name: layers[name].spread(tau) for name in ("c2", "c3")}
    return _evidence(network, layers, spreads, {"c2 → c3": _larger(spreads["c3"], spreads["c2"])})


def _has_c2_of_more_dimensions(layers: Mapping[str, LayerSpectrum]) -> bool:
    return "c2" in layers and "c3" in layers and layers["c2"].dim > layers["c3"].dim


def _evidence(
    network: str,
    layers: Mapping[str, LayerSpectrum],
    spreads: Mapping[str, Interval],
    verdicts: Mapping[str, Verdict],
) -> Evidence:
    return Evidence(
        network=network,
        spreads=spreads,
        dims={name: layers[name].dim for name in spreads},
        fails=tuple(name for name, verdict in verdicts.items() if verdict is Verdict.fails),
        verdict=_worst(list(verdicts.values())),
    )


def _larger(b: Interval, a: Interval) -> Verdict:
    return _verdict(holds=b.low > a.high, fails=b.high <= a.low)


def _verdict(*, holds: bool, fails: bool) -> Verdict:
    return Verdict.holds if holds else Verdict.fails if fails else Verdict.unclear


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of several together: one that fails is enough, and to hold all must hold."""
    for verdict in (Verdict.fails, Verdict.unclear):
        if verdict in verdicts:
            return verdict
    return Verdict.holds if Verdict.holds in verdicts else Verdict.absent
