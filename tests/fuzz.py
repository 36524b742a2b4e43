"""Malformed inputs by group: ``python -m tests.fuzz --count 5000``.

Whatever is wrong, the answer is one line on stderr and exit code 2, or from Python one of the project's
errors. From Python, TypeError stands for an argument that a door does not have or for what is no path;
scikit-learn's own kinds for what the estimator refuses; and whatever a data set of one's own raised for that
data set. What can be taken after all is taken. Everything else is a defect: a traceback, another exit code,
silence, more than a line, no end.
"""

import argparse
import contextlib
import faulthandler
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from streamspread.cli import main as command_line
from streamspread.errors import StreamspreadError
from tests.malformed import doors, files, options, own

#: By group: what makes a case, and its share of all.
GROUPS = {
    "options": (options.options, 20),
    "network specs": (options.models, 8),
    "data specs": (options.data, 8),
    "results": (files.arrow, 10),
    "weights": (files.weights, 8),
    "checkpoints": (files.checkpoints, 8),
    "grams": (files.grams, 8),
    "images": (files.images, 6),
    "parquet": (files.parquet, 6),
    "arguments from Python": (doors.doors, 10),
    "networks of one's own": (own.modules, 4),
    "data of one's own": (own.data, 4),
}
REFUSED, TAKEN = "one line", "taken"
_LONGEST = 60  # seconds of a case
#: What a data set raised is its own affair, and so is what torch's loader says of it, and what Python makes
#: of a StopIteration.
_OTHERS = ("tests/malformed/own.py", "/torch/utils/data/", "generator raised StopIteration")


class Outcome(NamedTuple):
    """What became of a case: REFUSED, TAKEN, or anything else in words; and how many seconds it took."""

    group: str
    number: int
    case: str
    became: str
    seconds: float = 0.0


class Endless(BaseException):
    """A case took longer than any may."""


def _late(*_):
    raise Endless


def case(group, number, seed, root):
    """Run one case in a folder of its own."""
    rng = random.Random(f"{seed} {group} {number}")
    folder = root / f"{group.replace(' ', '-').replace(chr(39), '')}-{number}"
    folder.mkdir()
    os.chdir(folder)
    made = GROUPS[group][0](rng, folder)
    what, run = made if isinstance(made, tuple) else (repr(made), lambda: made)
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(_LONGEST)
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            became = _called(what, run) if isinstance(made, tuple) else _command(made)
    except Endless:
        became = f"no end after {_LONGEST} s"
    finally:
        signal.alarm(0)
        os.chdir(root)
    return Outcome(group, number, what, became, time.perf_counter() - began)


def _command(line):
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command_line([str(part) for part in line])
    except BaseException as error:
        if isinstance(error, Endless):
            raise
        return f"traceback: {type(error).__name__}: {str(error)[:200]} at {_where(error)}"
    said = [one for one in err.getvalue().splitlines() if one.strip()]
    if code == 0:
        return TAKEN
    notes, last = said[:-1], said[-1] if said else ""
    if code != 2 or not last.startswith("error: ") or any(one.startswith("error") for one in notes):
        return f"exit code {code}: {err.getvalue()[-300:]!r}"
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in last):
        return f"control characters: {last[:200]!r}"
    if len(last) > 1_100:
        return f"a line of {len(last)} characters"
    return REFUSED


def _called(what, run):
    by_others = what.split(" ")[0] in (
        "data",
        "loader",
        "iterable",
        "list",
        "callable",
        "iterator",
        "shuffled",
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run()
    except StreamspreadError as error:
        return REFUSED if "\n" not in str(error) else f"several lines: {str(error)[:200]!r}"
    except Endless:
        raise
    except BaseException as error:
        kinds = isinstance(error, TypeError | ValueError)
        own_words = ("argument", "os.PathLike", "embedded null")
        if kinds and (what.startswith("PCA(") or any(words in str(error) for words in own_words)):
            return REFUSED
        raised = error
    else:
        return TAKEN
    if by_others and any(part in f"{_where(raised)} {raised}" for part in _OTHERS):
        return REFUSED
    return f"{type(raised).__name__}: {str(raised)[:200]} at {_where(raised)}"


def _where(error):
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "nowhere"
    root = Path(__file__).resolve().parent.parent
    last = frames[-1]
    own = [one for one in frames if "/streamspread/" in one.filename]
    place = str(Path(last.filename)).replace(f"{root}/", "")
    inner = f" (from {own[-1].filename.split('/streamspread/')[-1]}:{own[-1].lineno})" if own else ""
    return f"{place}:{last.lineno}{inner}"


def numbers(count):
    """How many cases each group has of so many."""
    total = sum(share for _, share in GROUPS.values())
    return {group: max(1, count * share // total) for group, (_, share) in GROUPS.items()}


def fuzz(count, seed, say=lambda outcome: None, groups=tuple(GROUPS)):
    """So many cases over all groups; the outcome of each."""
    here = os.getcwd()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "whole").mkdir()
        files.whole(root / "whole")
        environment = {
            "HF_HUB_OFFLINE": "1",
            "STREAMSPREAD_DATA": str(root / "none"),
            "HF_HOME": str(root / "hub"),
        }
        before = {name: os.environ.get(name) for name in environment}
        os.environ |= environment
        (root / "none" / "cifar-10-batches-py").mkdir(parents=True)
        try:
            for group, cases in numbers(count).items():
                for number in range(cases if group in groups else 0):
                    outcomes.append(case(group, number, seed, root))
                    say(outcomes[-1])
        finally:
            os.chdir(here)
            for name, text in before.items():
                if text is None:
                    del os.environ[name]
                else:
                    os.environ[name] = text
    return outcomes


def table(outcomes):
    """Lines: by group, how many were refused in one line, taken, and neither."""
    lines = [f"{'group':24} {'cases':>6} {'exit 2, one line':>17} {'taken':>6} {'other':>6} {'seconds':>8}"]
    for group in [*GROUPS, "all"]:
        cases = [one for one in outcomes if group in (one.group, "all")]
        counted = Counter(one.became if one.became in (REFUSED, TAKEN) else "other" for one in cases)
        seconds = sum(one.seconds for one in cases)
        row = f"{len(cases):6} {counted[REFUSED]:17} {counted[TAKEN]:6} {counted['other']:6} {seconds:8.1f}"
        lines.append(f"{group:24} {row}")
    return lines


#: What can only be seen from outside, by a process of its own: the line, what is done to it, and its ends.
OUTSIDE = [
    (["show", "missing.arrow"], {}, {2}),
    (["run", "--model", "plan:2", "--samples", "-1"], {"MPLBACKEND": "bogus"}, {2}),
    (["layers", "--model", "plan:2", "--color"], {"LC_ALL": "C", "PYTHONUTF8": "0"}, {2}),
    (["plan", "--data", "folder:\udce9"], {}, {2}),
]


def outside():
    """Each of OUTSIDE in a process; what became of it where that is not one line and exit code 2."""
    root = Path(__file__).resolve().parent.parent
    found = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "typer.py").write_text("raise SystemExit(0)")
        for line, environment, codes in OUTSIDE:
            done = subprocess.run(
                [sys.executable, "-m", "streamspread", *line],
                capture_output=True,
                text=True,
                errors="replace",
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(root), **environment},
                check=False,
            )
            if done.returncode not in codes or not done.stderr.splitlines()[-1].startswith("error: "):
                found.append(f"{line}: {done.returncode}, {done.stderr[-300:]}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    given = parser.parse_args()
    faulthandler.enable()

    def say(outcome):
        if outcome.became not in (REFUSED, TAKEN):
            print(f"{outcome.group} {outcome.number}: {outcome.case[:300]}\n    {outcome.became}", flush=True)

    outcomes = fuzz(given.count, given.seed, say, tuple(given.group or GROUPS))
    others = [] if given.group else outside()
    print("\n".join([*others, *table(outcomes)]))
    sys.exit(bool(others) or any(one.became not in (REFUSED, TAKEN) for one in outcomes))


if __name__ == "__main__":
    main()
