"""How the processes of a launcher are joined; what they then do stands in tests/engine/test_launched.py."""

import os

from streamspread.system import world


def test_what_is_said_beneath_python_while_they_meet_does_not_reach_stdout(capfd):
    with world._silent():
        os.write(1, b"[Gloo] Rank 0 is connected to 1 peer ranks\n")
    os.write(1, b"a result\n")
    assert capfd.readouterr() == ("a result\n", "")
