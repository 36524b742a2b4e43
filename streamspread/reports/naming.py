"""Many layers in few words, and many sentences that differ in their numbers as one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

_SHORT = 60  # characters of a list that is written out
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def listed(names: Sequence[str], everyone: Sequence[str]) -> str:
    """Layers as ``c1, c2``; more of them by the globs that ``--layers`` takes for just these, as
    ``blocks.*.mlp.fc1``, or from … to where they follow each other, whichever is shorter.

    Args:
        names: in the order of ``everyone``, all layers that there are.
    """
    plain = ", ".join(names)
    if len(plain) <= _SHORT or len(names) < 3:
        return plain
    if len(names) == len(everyone):
        return f"all {len(names):,} layers"
    return min((_globs(names, everyone), _runs(names, everyone)), key=len)


def alike(sentences: Iterable[tuple[str, str]]) -> list[tuple[list[str], str]]:
    """Sentences about layers, those that differ in their numbers alone as one with the smallest and the
    largest: ``3 to 5 tiles``; each with its layers."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, sentence in sentences:
        groups.setdefault(_NUMBER.sub("#", sentence), []).append((name, sentence))
    return [([name for name, _ in group], _merged([text for _, text in group])) for group in groups.values()]


def _merged(sentences: Sequence[str]) -> str:
    numbers = zip(*(_NUMBER.findall(sentence) for sentence in sentences), strict=True)
    ranges = iter([sorted(set(those), key=lambda one: float(one.replace(",", ""))) for those in numbers])

    def written(_: re.Match[str]) -> str:
        those = next(ranges)
        return those[0] if len(those) == 1 else f"{those[0]} to {those[-1]}"

    return _NUMBER.sub(written, sentences[0])


def _globs(names: Sequence[str], everyone: Sequence[str]) -> str:
    wanted, parts = set(names), dict[str, None]()
    for name in names:
        pattern = re.sub(r"(?<![^.])\d+(?![^.])", "*", name)
        own = not re.search(r"[\[\]?*]", name)
        fits = own and all(other in wanted for other in everyone if fnmatchcase(other, pattern))
        parts[pattern if fits else name] = None
    return ", ".join(parts)


def _runs(names: Sequence[str], everyone: Sequence[str]) -> str:
    places = {name: place for place, name in enumerate(everyone)}
    runs: list[list[str]] = []
    for name in names:
        if runs and places[name] == places[runs[-1][-1]] + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(
        f"{run[0]} … {run[-1]} ({len(run):,} layers)" if len(run) > 2 else ", ".join(run) for run in runs
    )
