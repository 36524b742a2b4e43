"""The runs that the article rests on, as command lines, each with the file that it makes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NETWORKS = ("no1", "no2", "no3", "no4")
BASE = "no1"  # is looked at in more ways

#: Images of the four networks, and of those circumstances in which fewer were used.
IMAGES, FEWER = 5_000, 1_000

_ALL = f"run --samples {IMAGES} --layers all --classes --with-random --thresholds 0.5,0.7,0.9 --view"
_ONE = "--thresholds 0.7"

#: What else was looked at of no1, beside the whole outputs over the usual images.
CONDITIONS = {
    "n1000": f"streamspread run --samples {FEWER} --layers c5,c6 {_ONE}",
    "test": f"streamspread run --split test --samples {IMAGES} --layers c5,c6,gap --classes {_ONE}",
    "relu": f"streamspread run --samples {FEWER} --layers c4.relu,c5.relu,c6.relu {_ONE}",
    "variants": "docs.study.variants",
}


def commands(data: str, folder: str) -> Iterator[tuple[str, list[str]]]:
    """The name of each file and what makes it, as arguments behind ``python -m``."""
    for model in NETWORKS:
        view = "whole,position,pooled" if model == BASE else "whole,pooled"
        name = f"{model}.arrow"
        yield name, _line(f"streamspread {_ALL} {view}", model, data, f"{folder}/{name}")
    for condition, command in CONDITIONS.items():
        name = f"{BASE}-{condition}.arrow"
        yield name, _line(command, BASE, data, f"{folder}/{name}")
    for model in NETWORKS:
        name = f"{model}-cka.csv"
        yield name, _line("streamspread cka --samples 2000", model, data, f"{folder}/{name}")


def make(data: str, folder: Path) -> None:
    """Make what is not there yet. Where a command fails, which says why, this ends with its exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in commands(data, str(folder)):
        if not (folder / name).exists():
            print(f"{name}:", *arguments, file=sys.stderr, flush=True)
            if code := subprocess.run([sys.executable, "-m", *arguments]).returncode:
                sys.exit(code)


def typed(data: str, folder: str) -> str:
    """All commands as one would type them, a line each."""
    lines = []
    for _, (module, *arguments) in commands(data, folder):
        program = module if module == "streamspread" else f"python -m {module}"
        lines.append(" ".join([program, *(f"'{one}'" if "*" in one else one for one in arguments)]))
    return "\n".join(lines)


def _line(command: str, model: str, data: str, out: str) -> list[str]:
    """The arguments of a command; the network and its data come first among its options."""
    words = command.split()
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    return [*words[:first], "--model", model, "--data", data, *words[first:], "--out", out]
