"""Do several processes say of real layers what one says? ``python -m tests.real_ranks [--data parquet:PATH]``

Each number of processes is started by torchrun, one thread each: ``streamspread run`` of a network by each
method. Files are compared with that of one process: K alike everywhere, eigenvalues but for rounding. It ends
with 1 where something differs, and takes some minutes, so it is no part of the tests.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import streamspread
from tests.fresh import ROOT, environment

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
# By method: its options, and how far eigenvalues may differ, as a share of the largest.
METHODS = {
    "covariance": ((), 1e-8),
    "gram": ((), 1e-7),
    "sketch": (("--rank", "128"), 1e-7),
}


def started(size, method, given, folder):
    """What so many processes wrote, and the seconds that it took."""
    path = folder / f"{method}-{size}.arrow"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    command = [sys.executable, *launcher, "-m", "streamspread", "run", "--quiet", "--method", method]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--out", str(path), *METHODS[method][0], *given],
        env=environment(**THREADS),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return streamspread.read(path), time.monotonic() - began


def difference(one, other, most):
    """What differs between two results, in words; "" where nothing does."""
    for name, a in one.items():
        b = other[name]
        for tau in one.thresholds:
            if a.components(tau) != b.components(tau):
                return f"K({tau:g}) of {name} is {b.components(tau)}, and {a.components(tau)} of one process"
        count = min(len(a.eigenvalues), len(b.eigenvalues))
        off = float(np.abs(a.eigenvalues[:count] - b.eigenvalues[:count]).max()) / float(a.eigenvalues[0])
        if off > most:
            return f"eigenvalues of {name} differ by {off:.0e} of the largest"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--ranks", type=int, nargs="+", default=(2, 3, 4, 8))
    asked = parser.parse_args()
    given = ["--model", "no2", "--layers", "c5,c6,gap", "--thresholds", "0.5,0.7,0.9"]
    given += ["--data", asked.data, "--samples", str(asked.samples)]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for method, (_, most) in METHODS.items():
            one, took = started(1, method, given, Path(folder))
            ks = ", ".join(f"{name} {tuple(each.components(0.7))}" for name, each in one.items())
            print(f"{method:<11} 1 process    {took:6.1f} s   K(0.7): {ks}", flush=True)
            for size in asked.ranks:
                other, took = started(size, method, given, Path(folder))
                said = difference(one, other, most)
                failed |= bool(said)
                print(f"{method:<11} {size} processes  {took:6.1f} s   {said or 'the same'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
