"""From the results of the runs to the numbers of the article: one small JSON with all that it says."""

from __future__ import annotations

import csv
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import streamspread
from benchmarks.beyond_the_sample import IMAGES as ALL
from benchmarks.beyond_the_sample import KNOWN
from benchmarks.environment import environment
from docs.study.runs import BASE, CONDITIONS, FEWER, IMAGES, NETWORKS
from streamspread.reports.collection import collect
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.study.claims import EARLY_SHARE, TAU, judge

_CURVE = 60  # eigenvalues of a figure
_EQUAL = {"no3": ("c3", "c4", "c5", "c6")}  # of the same D, by network


def numbers(folder: Path) -> dict[str, Any]:
    """What the article says, of the results in a folder that :mod:`docs.study.runs` made."""
    files = {name: folder / f"{name}.arrow" for name in NETWORKS}
    found = {name: streamspread.read(path) for name, path in files.items()}
    base, facts = found[BASE], environment()
    networks = {name: _network(spectra) for name, spectra in found.items()}
    dims = {name: {layer: one.dim for layer, one in spectra.items()} for name, spectra in found.items()}
    own = {
        name: {layer: one["k"] for layer, one in network["layers"].items()}
        for name, network in networks.items()
    }
    every = [one["of_ceiling"] for network in networks.values() for one in network["layers"].values()]
    return {
        "made": {
            "processor": f"{facts['cores']}-core {facts['processor']}",
            "date": facts["time_utc"][:10],
            "images": base["c1"].samples,
            "fewer": FEWER,
            "input": base["c1"].ceiling,
            "all": ALL,
            "fullest": max(every),
            "ceiling": base["c2"].ceiling,
        },
        "networks": networks,
        "position": _position(base),
        "curves": {layer: _curves(base[layer]) for layer in ("c5", "c6")},
        "conditions": {
            f"{BASE}-{condition}": _spectra(folder / f"{BASE}-{condition}.arrow") for condition in CONDITIONS
        },
        "cka": {name: _similarity(folder / f"{name}-cka.csv") for name in NETWORKS},
        "range": {layer: _range(networks, layer) for layer in ("c1", "c5", "c6")},
        "fall": {name: _fall(one) for name, one in networks.items()},
        "all": KNOWN,
        "claims": {
            f"{IMAGES:,} images": _claims_of_known(own, dims),
            f"as these {IMAGES:,} tell of more": _claims(list(files.values())),
            f"all {ALL:,} images": _claims_of_known(KNOWN, dims),
        },
    }


def _spectra(path: Path) -> dict[str, Any]:
    spectra = streamspread.read(path)
    # Dots stand between keys.
    layers = {name.replace(".", "_"): _layer(layer) for name, layer in spectra.items()}
    return {"images": max(layer.samples for layer in spectra.values()), "layers": layers}


def _network(spectra: Spectra) -> dict[str, Any]:
    facts, layers = spectra.provenance, {}
    for name, layer in spectra.items():
        if "@" in name:
            continue
        layers[name] = _layer(layer)
        if spectra.twin is not None:
            layers[name]["random"] = _layer(spectra.twin[name])
        pooled = spectra.get(f"{name}@pooled")
        if pooled is not None:
            layers[name]["mean_share"] = _rounded(pooled.share_of_whole)
            if spectra.twin is not None:
                layers[name]["random"]["mean_share"] = _rounded(spectra.twin[pooled.layer].share_of_whole)
    return {
        "plan": str(facts["plan"]).replace(",", " "),
        "accuracy": float(facts["weights_note"]["accuracy"]),
        "seen": facts.get("data_seen"),
        "training": {key: facts["weights_note"].get(key) for key in ("epochs", "epochs_before", "optimizer")},
        "layers": layers,
    }


def _layer(layer: LayerSpectrum) -> dict[str, Any]:
    """A layer's numbers; K must be closed, since the article says it as one number."""
    taus = (TAU,) if layer.growth is None else layer.growth.thresholds
    k = int(layer.components(TAU))
    found: dict[str, Any] = {
        "dim": layer.dim,
        "shape": "×".join(map(str, layer.shape)),
        "ceiling": layer.ceiling,
        "k": k,
        "spread": _rounded(k / layer.dim),
        "of_ceiling": _rounded(k / layer.ceiling),
        "nine": _rounded(layer.share_of_nine),
        "first": _rounded(sum(layer.share(1)) / 2),
        "participation_ratio": _rounded(layer.participation_ratio),
        "at": {f"{tau:g}": list(map(int, layer.components(tau))) for tau in taus},
    }
    classes = layer.classes
    if classes is not None:
        found["between"] = _rounded(classes.between_share)
        found["span"] = _rounded(classes.span_share)
        found["nc1"] = _rounded(classes.nc1)
        if classes.within is not None:
            found["within"] = int(classes.within.components(TAU))
        if each := classes.at(TAU):
            found["each"] = [min(one.components for one in each), max(one.components for one in each)]
            found["mixed"] = _rounded(sum(one.mixed for one in each) / len(each))
    return found


def _fall(network: dict[str, Any]) -> dict[str, Any]:
    """How much of the fall of K from c5 to c6, in logarithms, is gone where the classes' means are."""
    c5, c6 = network["layers"]["c5"], network["layers"]["c6"]
    whole, within = math.log(c5["k"] / c6["k"]), math.log(c5["within"] / c6["within"])
    return {"factor": _rounded(c5["k"] / c6["k"]), "explained": _rounded(1 - within / whole)}


def _range(networks: dict[str, Any], layer: str) -> list[float]:
    """The least and the largest K(0.7)/D of a layer among the networks."""
    shares = [network["layers"][layer]["spread"] for network in networks.values()]
    return [min(shares), max(shares)]


def _position(spectra: Spectra) -> dict[str, Any]:
    """K of single positions, and their number of channels."""
    views = {name: layer for name, layer in spectra.items() if name.endswith("@position")}
    return {layer.own_name: {"k": int(layer.components(TAU)), "dim": layer.dim} for layer in views.values()}


def _curves(layer: LayerSpectrum) -> dict[str, list[float]]:
    """Eigenvalues as shares of T: of the layer, within its classes, between them."""
    classes, total = layer.classes, layer.total_variance
    # Within, the divisor is N − C; as a share of all variance it is N − 1.
    unit = (classes.within.samples - 1) / (layer.samples - 1) / total
    return {
        "all": [_rounded(value / total) for value in layer.eigenvalues[:_CURVE]],
        "within": [_rounded(value * unit) for value in classes.within.eigenvalues[:_CURVE]],
        "between": [_rounded(value / total) for value in classes.between],
    }


def _similarity(path: Path) -> dict[str, Any]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "images": int(rows[0]["samples"]),
        "debiased": {f"{row['row']} {row['column']}": _rounded(float(row["debiased"])) for row in rows},
    }


def _claims(paths: list[Path]) -> dict[str, Any]:
    networks = [run for run in collect(paths).networks if run.view == "whole" and not run.is_twin]
    return {
        claim.name: {
            "verdict": str(claim.verdict),
            "networks": {
                one.network.split("-")[0]: {
                    "verdict": str(one.verdict),
                    "fails": list(one.fails),
                    "unsettled": list(one.unsettled),
                }
                for one in claim.evidence
            },
        }
        for claim in judge(networks)
    }


def _claims_of_known(known: dict[str, dict[str, int]], dims: dict[str, dict[str, int]]) -> dict[str, Any]:
    """The claims by K as it is known, of these images alone."""
    shares = {name: {layer: k / dims[name][layer] for layer, k in ks.items()} for name, ks in known.items()}
    judged: dict[str, dict[str, list[str]]] = {"early": {}, "grows": {}, "c3_over_c2": {}, "equal_dims": {}}
    for name, share in shares.items():
        convolutions = [layer for layer in share if layer.startswith("c")]
        half = convolutions[: (len(convolutions) + 1) // 2]
        judged["early"][name] = [layer for layer in half if share[layer] > EARLY_SHARE]
        judged["grows"][name] = _falls(share, list(share))
        if dims[name]["c2"] > dims[name]["c3"]:
            judged["c3_over_c2"][name] = _falls(share, ["c2", "c3"])
        if name in _EQUAL:
            judged["equal_dims"][name] = _falls(share, _EQUAL[name])
    return {
        claim: {
            "verdict": "fails" if any(networks.values()) else "holds",
            "networks": {
                name: {"verdict": "fails" if fails else "holds", "fails": fails, "unsettled": []}
                for name, fails in networks.items()
            },
        }
        for claim, networks in judged.items()
    }


def _falls(share: dict[str, float], layers: Any) -> list[str]:
    return [f"{a} → {b}" for a, b in pairwise(layers) if share[b] <= share[a]]


def _rounded(value: float) -> float | None:
    """Six significant digits; null for what is not known."""
    return None if math.isnan(value) else float(f"{np.float64(value):.6g}")


def write(found: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
