"""Runs that are killed in earnest: ten of the hundred kills of ``make chaos``, and each signal by itself."""

import signal

import pytest

from tests.chaos import TRAINING, Started, chaos, undisturbed


@pytest.mark.parametrize(
    ("run", "kills"),
    [(("several passes", 1), 3), ((TRAINING, 1), 2), (("gram", 2), 3), (("covariance", 2), 2)],
)
def test_kills_at_random_moments_change_no_bit(run, kills):
    assert chaos(kills, 1, [run], say=lambda line: None) >= 1


# SIGTERM and SIGINT of one process: tests/cli/test_checkpoints.py
@pytest.mark.parametrize(("number", "size"), [(signal.SIGHUP, 1), (signal.SIGTERM, 2), (signal.SIGINT, 2)])
def test_a_signal_keeps_the_run_and_ends_it_as_it_always_does(number, size, tmp_path):
    with Started("covariance", size, tmp_path / "run", pause=5) as run:
        for count, _ in enumerate(run.lines, 1):
            if count == 5:
                run.all[-1].send_signal(number)
                run.go_on()
        assert run.codes() == [-number] * size
    assert (tmp_path / "run").is_file()
    assert len(list(tmp_path.iterdir())) == size
    with Started("covariance", size, tmp_path / "run") as run:
        assert run.lines.read().split()[-1] == undisturbed("covariance", size)[0]
    assert list(tmp_path.iterdir()) == []
