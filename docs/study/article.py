"""The article's text from its template and its numbers: no number in it is typed.

In the template ``{{path|format}}`` stands for the number at a path of :file:`numbers.json`, dots between keys
and ``:`` for the last of a list, and ``{{table NAME}}`` for a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from docs.study import runs
from docs.study.figures import circumstance, in_circumstances
from streamspread.reports import text
from streamspread.results.interval import Interval

Numbers = Mapping[str, Any]

_SLOT = re.compile(r"\{\{(.+?)\}\}")
_MARKS = {
    "holds": "✓ holds",
    "fails": "✗ does not hold",
    "unsettled": "? not settled",
    "unclear": "? unclear",
    "other_data": "– other data",
    "absent": "– not tested",
}
_CLAIMS = {
    "early": "The first half of the convolutions spreads over at most 1 % of its dimensions",
    "grows": "The share grows from every layer to the next",
    "c3_over_c2": "c3 spreads over a larger share than c2, although c2 has more dimensions",
    "equal_dims": "In no3 the share grows from c3 to c6, which have the same dimensions",
}


def render(template: str, found: Numbers) -> str:
    """The text. KeyError for a number that is not there, by its path."""

    def filled(slot: re.Match[str]) -> str:
        what = slot[1].strip()
        if what.startswith("table "):
            return TABLES[what.removeprefix("table ")](found)
        path, _, form = what.partition("|")
        return FORMATS[form or "count"](look_up(found, path))

    return _SLOT.sub(filled, template)


def look_up(found: Numbers, path: str) -> Any:
    """What stands at a path; KeyError where nothing does."""
    value: Any = found
    for key in path.split("."):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise KeyError(f"{path}: nothing is at {key!r}") from None
    return value


FORMATS: dict[str, Callable[[Any], str]] = {
    "count": lambda value: f"{value:,}",
    "text": str,
    "percent": lambda value: text.percent(Interval(value, value)),
    "whole": lambda value: f"{100 * value:.0f} %",  # per cent without decimals
    "times": lambda value: f"{value:.1f}" if value < 10 else f"{value:.0f}",
    "number": text.number,
    "cka": lambda value: f"{value:.2f}",
}


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    rule = ["---" if column < left else "--:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _networks(found: Numbers) -> str:
    rows = [[name, one["plan"], f"{100 * one['accuracy']:.2f} %"] for name, one in found["networks"].items()]
    return _markdown(["network", "convolutions' channels; M: 2×2 max-pooling", "test accuracy"], rows, 2)


def _spread(found: Numbers) -> str:
    images, every = f"{found['made']['images']:,}", f"{found['made']['all']:,}"
    header = ["network", "layer", "D", f"K of {images}", "K/D", "random weights", f"K of {every}", "K/D"]
    rows = []
    for name, network in found["networks"].items():
        for layer, one in network["layers"].items():
            k = found["all"].get(name, {}).get(layer)
            row = [name if layer == "c1" else "", layer, FORMATS["count"](one["dim"])]
            row += [FORMATS["count"](one["k"]), FORMATS["percent"](one["spread"])]
            row += [FORMATS["count"](one["random"]["k"])]
            row += ["–", "–"] if k is None else [FORMATS["count"](k), FORMATS["percent"](k / one["dim"])]
            rows.append(row)
    return _markdown(header, rows, 2)


def _ceilings(found: Numbers) -> str:
    rows = [
        [
            layer,
            one["shape"],
            FORMATS["count"](one["dim"]),
            FORMATS["count"](one["ceiling"]),
            FORMATS["count"](one["k"]),
            FORMATS["percent"](one["spread"]),
            FORMATS["percent"](one["of_ceiling"]),
            FORMATS["number"](one["participation_ratio"]),
        ]
        for layer, one in found["networks"]["no1"]["layers"].items()
    ]
    header = [
        "layer",
        "shape",
        "D",
        "K at most",
        "K(0.7)",
        "K/D",
        "K over what it can be",
        "participation ratio",
    ]
    return _markdown(header, rows, 2)


def _classes(found: Numbers) -> str:
    rows = []
    for name, network in found["networks"].items():
        for layer, one in network["layers"].items():
            random = one["random"]
            rows.append(
                [
                    name if layer == "c1" else "",
                    layer,
                    *(FORMATS["percent"](one[key]) for key in ("between", "span", "nine")),
                    FORMATS["percent"](random["nine"]),
                    "–" if "mean_share" not in one else FORMATS["percent"](one["mean_share"]),
                    FORMATS["count"](one["k"]),
                    FORMATS["count"](one["within"]),
                    FORMATS["number"](one["nc1"]),
                    "–" if "each" not in one else f"{one['each'][0]} to {one['each'][1]}",
                    "–" if "each" not in one else FORMATS["number"](one["mixed"]),
                ]
            )
    header = [
        "network",
        "layer",
        "between class means",
        "along their directions",
        "nine leading components",
        "these, random weights",
        "spatial means",
        "K",
        "K within classes",
        "NC1",
        "K of one class",
        "K of as many of all",
    ]
    return _markdown(header, rows, 2)


def _claims(found: Numbers) -> str:
    rows = []
    for name, words in _CLAIMS.items():
        row = [words]
        for judged in found["claims"].values():
            row.append(_verdict(judged[name]))
        rows.append(row)
    return _markdown(["claim", *found["claims"]], rows, 1 + len(found["claims"]))


def _verdict(claim: Mapping[str, Any]) -> str:
    lines = [_MARKS[claim["verdict"]]]
    for key, word in (("fails", "not at"), ("unsettled", "not settled at")):
        where: dict[str, list[str]] = {}
        for network, one in claim["networks"].items():
            if one[key]:
                where.setdefault(", ".join(one[key]), []).append(network)
        lines += [f"{', '.join(names)}: {word} {places}" for places, names in where.items()]
    return "<br>".join(lines)


def _circumstances(found: Numbers) -> str:
    rows = [
        [
            circumstance(key, found),
            FORMATS["count"](k["c5"]),
            FORMATS["count"](k["c6"]),
            FORMATS["times"](k["c5"] / k["c6"]),
        ]
        for key, k in in_circumstances(found).items()
    ]
    return _markdown(["no1", "K(0.7) of c5", "of c6", "their ratio"], rows)


TABLES: dict[str, Callable[[Numbers], str]] = {
    "networks": _networks,
    "spread": _spread,
    "ceilings": _ceilings,
    "classes": _classes,
    "claims": _claims,
    "circumstances": _circumstances,
    "commands": lambda found: runs.typed("parquet:data/cifar10-jpeg", "study"),
}
