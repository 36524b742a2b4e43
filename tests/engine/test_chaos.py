"""Runs that are killed in earnest: ten of the hundred kills of ``make chaos``, and each signal by itself."""

import signal

import pytest

from tests.chaos import TRAINING, Started, chaos, undisturbed


def test_five_kills_at_random_moments_change_no_bit():
    assert chaos(5, 1, [("several passes", 1), (TRAINING, 1)], say=lambda line: None) >= 2


def test_five_kills_of_one_of_two_ranks_change_no_bit():
    assert chaos(5, 3, [("gram", 2), ("covariance", 2)], say=lambda line: None) >= 2


# SIGTERM and SIGINT of one process: tests/cli/test_checkpoints.py
@pytest.mark.parametrize(("number", "size"), [(signal.SIGHUP, 1), (signal.SIGTERM, 2), (signal.SIGINT, 2)])
def test_a_signal_keeps_the_run_and_ends_it_as_it_always_does(number, size, tmp_path):
    with Started("covariance", size, tmp_path / "run") as run:
        for count, _ in enumerate(run.lines, 1):
            if count == 5:
                run.all[-1].send_signal(number)
        assert run.codes() == [-number] * size
    assert (tmp_path / "run").is_file()
    assert len(list(tmp_path.iterdir())) == size
    with Started("covariance", size, tmp_path / "run") as run:
        assert run.lines.read().split()[-1] == undisturbed("covariance", size)[0]
    assert list(tmp_path.iterdir()) == []
