"""Processes that are forked of one that has imported what they need, which else takes each of them seconds.

Each goes on and ends as if Python had been started for it alone. They are forked of two processes in turn,
whose sets and hashes have other orders.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numba

from tests.fresh import ROOT, environment

#: What an analysis imports where it first needs it.
NEEDED = (
    "scipy.linalg.cython_blas",
    "streamspread.accumulators.methods.covariance",
    "streamspread.accumulators.methods.gram",
    "streamspread.accumulators.methods.sketch",
    "streamspread.api.analyze",
    "streamspread.engine.loading",
    "streamspread.kernels.cpu",
)
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
_ORDERS = ("1", "2")
_turns = count()


class Forked:
    """A process that does ``function(*given)`` of the module, with what JSON can hold; as
    :class:`subprocess.Popen` of a pipe.

    Attributes:
        stdout: what it prints. ``returncode``: None until :meth:`wait` has seen it end.
    """

    def __init__(self, module, function, given, folder, stderr):
        self._server = _server(_ORDERS[next(_turns) % len(_ORDERS)])
        self.returncode = None
        pipe = Path(folder) / "pipe"
        os.mkfifo(pipe)
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.pid = _asked(self._server, "start", module, function, given, str(pipe), str(stderr))
        pipe.unlink()
        os.set_blocking(reading, True)
        self.stdout = os.fdopen(reading)

    def wait(self, timeout):
        """Its code; negative where a signal ended it."""
        until = time.monotonic() + timeout
        while self.returncode is None:
            self.returncode = _asked(self._server, "code", self.pid)
            if self.returncode is None:
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout)
                time.sleep(0.005)
        return self.returncode

    def send_signal(self, number):
        """Unless it has been seen to end."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        """End it if it has not ended."""
        self.send_signal(9)
        self.wait(60.0)
        self.stdout.close()


@functools.cache
def _server(order):
    command = [sys.executable, "-m", "tests.forks"]
    given = {"cwd": ROOT, "env": environment(**THREADS, PYTHONHASHSEED=order), "text": True}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **given)
    atexit.register(server.communicate)
    return server


def _asked(server, *question):
    print(json.dumps(question), file=server.stdin, flush=True)
    return json.loads(server.stdout.readline())


def _code(pid):
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _child(name, function, given, *places):
    """Its number; in the child itself, what it is to do."""
    work = functools.partial(getattr(importlib.import_module(name), function), *given)
    threads = [one.read_text().strip() for one in Path("/proc/self/task").glob("*/comm")]
    assert threads in ([], ["python"], ["python", "jemalloc_bg_thd"]), threads  # a child has but the first
    ends = [os.open(os.devnull, os.O_RDONLY), *(os.open(one, os.O_WRONLY | os.O_CREAT) for one in places)]
    pid = os.fork()
    for number, end in enumerate(ends):
        if pid == 0:
            os.dup2(end, number)
        os.close(end)
    return pid or work


def _serve():
    """Answer until nothing more is asked; a child comes back with what it is to do."""
    for name in NEEDED:
        importlib.import_module(name)
    numba.njit(lambda x: x + 1)(1)  # which imports more of Numba, and begins no thread
    atexit.register(gc.freeze)  # as the command line's: nobody looks for cycles among all that at the end
    for line in sys.stdin:
        kind, *question = json.loads(line)
        answer = _code(*question) if kind == "code" else _child(*question)
        if callable(answer):
            return answer
        print(json.dumps(answer), flush=True)
    return None


if __name__ == "__main__":
    if work := _serve():
        work()
