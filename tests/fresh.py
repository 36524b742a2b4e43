"""What this copy of the package does in an interpreter of its own."""

import os
import subprocess
import sys
from pathlib import Path

import streamspread

ROOT = Path(streamspread.__file__).parent.parent


# What libraries load stays, and is a million objects: nobody looks for cycles among them while more load, nor
# at the end, which is a third of the time of a process that does little.
SWIFTLY = "import atexit, gc\ngc.set_threshold(700, 10, 1000)\natexit.register(gc.freeze)\n"


def environment(**more):
    """This process's environment, in which Python finds this copy, and what else is given."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


def output_of(code, *arguments):
    """What the code prints, run with these arguments; the test fails by its error where it has one."""
    command = [sys.executable, "-c", SWIFTLY + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code):
    """The top-level modules that are there after the code has run."""
    listing = "import sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    return set(output_of(f"{code}\n{listing}").split())
