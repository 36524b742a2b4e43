"""The processes of a launcher join, and part: nobody is asked afterwards."""

import os
import socket
import subprocess
import sys

from streamspread.ranks import ALONE, launch
from streamspread.ranks.launch import joined
from tests.fresh import environment

JOINED = """
import torch
from streamspread.errors import RanksError
from streamspread.ranks.launch import joined

with joined("cpu") as ranks, ranks.together():
    print(float(ranks.sum_(torch.ones(1))), ranks.local_rank, ranks.local_size)
try:
    ranks.tell()
except RanksError as error:
    print(error)
"""


def test_processes_join_and_part():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", JOINED],
            env=environment(**where, RANK=str(rank), LOCAL_RANK=str(rank)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [one.communicate(timeout=120)[0].splitlines() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert said == [[f"2.0 {rank} 2", "the 2 processes have parted"] for rank in range(2)]


def test_without_a_launcher_a_process_is_alone():
    assert "WORLD_SIZE" not in os.environ
    with joined("cpu") as ranks:
        assert ranks is ALONE
        ranks.leave()


def test_what_is_said_beneath_python_while_they_meet_does_not_reach_stdout(capfd):
    with launch._silent():
        os.write(1, b"[Gloo] Rank 0 is connected to 1 peer ranks\n")
    os.write(1, b"a result\n")
    assert capfd.readouterr() == ("a result\n", "")
