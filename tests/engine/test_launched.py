"""The command as a launcher starts it, in several processes: the first one prints and writes, and however one
ends, none is left."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import streamspread
from tests.fresh import environment

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
RUN = "run --model plan:4,M,8 --weights none --data noise --samples 40 --image-size 8 --out r.arrow"
PATIENCE = 60.0  # seconds within which all have ended; gloo would wait for half an hour

# A network that says where it is, and waits for what comes, until it need not any more.
WAITING = """
import os, pathlib, time
import torch
from torch import nn

class Waiting(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 5)
        self.calls = 0

    def forward(self, x):
        self.calls += len(x) == 4
        if self.calls == 3:
            pathlib.Path(os.environ["RANK"] + ".there").touch()
        if self.calls >= 3 and not pathlib.Path("swift").exists():
            time.sleep(0.05)
        return self.linear(x.flatten(1))

def made():
    torch.manual_seed(0)
    return Waiting()
"""


def launched(folder, *arguments, size=2):
    """Processes of the command, as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamspread", *arguments]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)} | THREADS
    return [
        subprocess.Popen(
            command,
            env=environment(**where, RANK=str(rank), LOCAL_RANK=str(rank)),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def test_the_first_process_of_a_run_prints_and_writes(tmp_path):
    first, second = launched(tmp_path, *RUN.split())
    printed, said = first.communicate(timeout=120)
    assert (first.returncode, second.wait(timeout=30)) == (0, 0), said
    assert "c1" in printed
    assert "wrote r.arrow" in said
    assert second.communicate() == ("", "")
    assert os.listdir(tmp_path) == ["r.arrow"]


def test_a_plan_is_of_all_processes_and_the_first_one_prints_it(tmp_path):
    several = launched(tmp_path, *RUN.replace("run", "plan").replace("--out r.arrow", "").split())
    (printed, said), others = (one.communicate(timeout=120) for one in several)
    assert [one.returncode for one in several] == [0, 0], said
    assert "2 processes share it: each is sent " in printed
    assert "by the others, for which it waits about " in printed
    assert others == ("", "")


def test_other_commands_are_of_one_process(tmp_path):
    several = launched(tmp_path, "layers", "--model", "no1")
    said = [one.communicate(timeout=120)[1] for one in several]
    assert [one.returncode for one in several] == [2, 2]
    assert said[0].startswith("error: a launcher started 2 processes, and only run and plan are of several")
    assert said[1] == ""


LONG = "run --model net:made --weights none --data noise --image-size 2 --batch-size 4 --layers linear "
LONG += "--out r.arrow --samples"


def waiting(folder, size=3, samples="40000"):
    """Processes of a run that does not end by itself, once all of them are in the middle of it."""
    (folder / "net.py").write_text(WAITING)
    several = launched(folder, *LONG.split(), *samples.split(), size=size)
    until = time.monotonic() + 120
    while len(list(folder.glob("*.there"))) < size:
        ended = [one.communicate()[1] for one in several if one.poll() is not None]
        assert not ended, ended
        assert time.monotonic() < until
        time.sleep(0.1)
    return several


def ended(several):
    """What each said, once all have ended."""
    until = time.monotonic() + PATIENCE
    try:
        return [one.communicate(timeout=max(0.1, until - time.monotonic())) for one in several]
    finally:
        for one in several:
            one.kill()


@pytest.mark.parametrize("killed", [0, 2])
def test_all_end_with_one_line_where_one_is_killed(tmp_path, killed):
    several = waiting(tmp_path)
    several[killed].kill()
    said = ended(several)
    left = [rank for rank in range(3) if rank != killed]
    assert [several[rank].returncode for rank in left] == [2, 2]
    lines = said[0][1].splitlines()
    assert killed == 0 or lines[-1].startswith(
        "error: one of the 3 processes has ended, or cannot be reached"
    )
    assert [said[rank] for rank in left if rank] == [("", "")] * (2 if killed == 0 else 1)
    assert not (tmp_path / "r.arrow").exists()


@pytest.mark.parametrize("interrupted", [(1,), (0, 1, 2)])
def test_all_end_where_one_is_interrupted_or_all_are(tmp_path, interrupted):
    several = waiting(tmp_path)
    for rank in interrupted:
        several[rank].send_signal(signal.SIGINT)
    said = ended(several)
    assert [one.returncode for one in several] == [130] * 3, said
    assert said[1:] == [("", "")] * 2
    assert "Traceback" not in said[0][1]
    assert not (tmp_path / "r.arrow").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_at_one_keeps_the_run_of_all_and_one_process_goes_on(tmp_path, number, code):
    more = "4000 --checkpoint run.ck"  # at the least 25 s, in which the signal comes
    several = waiting(tmp_path, 2, more)
    several[1].send_signal(number)
    said = ended(several)
    assert [one.returncode for one in several] == [code] * 2, said
    assert len(list(tmp_path.glob("run.ck*"))) == 2
    (tmp_path / "swift").touch()
    (one,) = launched(tmp_path, *LONG.split(), *more.split(), size=1)
    printed, _ = one.communicate(timeout=120)
    assert one.returncode == 0
    assert "resumed from a checkpoint, pass 1, " in printed
    assert streamspread.read(tmp_path / "r.arrow")["linear"].samples == 4000
    assert list(tmp_path.glob("run.ck*")) == []


def test_an_error_is_said_once_and_ends_all_with_2(tmp_path):
    several = launched(tmp_path, *RUN.split(), "--layers", "nowhere")
    said = ended_after(several)
    assert [one.returncode for one in several] == [2, 2]
    assert said[0][1].startswith("error: ")
    assert said[0][1].count("\n") == 1
    assert said[1] == ("", "")
    assert os.listdir(tmp_path) == []


def ended_after(several):
    return [one.communicate(timeout=120) for one in several]
