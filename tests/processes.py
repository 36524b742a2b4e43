"""Processes that a test starts, one for each rank, and the signals that they hear."""

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def hear_signals():
    """From here on signals have their effect, also on processes that are started: nohup, and the background
    of a shell, have some ignored."""
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def run_all(module, world, folder):
    """Run ``python -m module RANK WORLD PORT FOLDER`` for each rank; all must end well."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command, given = [sys.executable, "-m", module], [str(world), port, str(folder)]
    started = [
        subprocess.Popen([*command, str(rank), *given], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(world)
    ]
    said = [process.communicate(timeout=500)[1] for process in started]
    assert [process.returncode for process in started] == [0] * world, "\n".join(said)
