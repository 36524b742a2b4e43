"""The runs that the article rests on, as command lines, each with the file that it makes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

NETWORKS = ("no1", "no2", "no3", "no4")
BASE = "no1"  # is looked at over more images, and in more ways

#: What else was looked at than the whole outputs over the usual images, and for which networks.
CONDITIONS: dict[str, Sequence[str]] = {
    "test": ("no1",),
    "relu": ("no1",),
    "variants": ("no1",),
}

#: Images over which all networks are compared, and the file's name behind the network's.
COMPARED, COMPARED_NAME = 1_000, "n1000"

_ALL = "run --layers all --classes --with-random --thresholds 0.5,0.7,0.9 --view"
_ONE = "--thresholds 0.7"
_OF_CONDITION = {
    "test": f"run --split test --samples 5000 --layers c5,c6,gap --classes {_ONE}",
    "relu": f"run --samples {COMPARED} --layers c4.relu,c5.relu,c6.relu {_ONE}",
}


def commands(data: str, folder: str) -> Iterator[tuple[str, list[str]]]:
    """The name of each file and what makes it, as arguments behind ``python -m``."""
    for model in NETWORKS:
        name = f"{model}-{COMPARED_NAME}.arrow"
        run = f"{_ALL} whole,pooled --samples {COMPARED}"
        yield name, _line("streamspread", run, model, data, f"{folder}/{name}")
    run = f"{_ALL} whole,position,pooled"
    yield f"{BASE}.arrow", _line("streamspread", run, BASE, data, f"{folder}/{BASE}.arrow")
    for condition, models in CONDITIONS.items():
        for model in models:
            name = f"{model}-{condition}.arrow"
            module = "streamspread" if condition in _OF_CONDITION else f"docs.study.{condition}"
            yield name, _line(module, _OF_CONDITION.get(condition, ""), model, data, f"{folder}/{name}")
    for model in NETWORKS:
        name = f"{model}-cka.csv"
        yield name, _line("streamspread", "cka --samples 2000", model, data, f"{folder}/{name}")


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


def _line(module: str, options: str, model: str, data: str, out: str) -> list[str]:
    command, *rest = options.split() or [""]
    return [
        *([module, command] if command else [module]),
        "--model",
        model,
        "--data",
        data,
        *rest,
        "--out",
        out,
    ]
