"""Runs that are killed in earnest: six of the hundred kills of ``make chaos``, and each signal by itself."""

import signal

import pytest

from tests.chaos import TRAINING, chaos, started, undisturbed


def test_six_kills_at_random_moments_change_no_bit():
    assert chaos(6, 1, ["several passes", TRAINING], say=lambda line: None) >= 2


@pytest.mark.parametrize("number", [signal.SIGHUP])  # SIGTERM and SIGINT: tests/cli/test_checkpoints.py
def test_a_signal_keeps_the_run_and_ends_it_as_it_always_does(number, tmp_path):
    with started("covariance", tmp_path / "run") as process:
        for count, _ in enumerate(process.stdout, 1):
            if count == 5:
                process.send_signal(number)
    assert process.returncode == -number
    assert (tmp_path / "run").is_file()
    with started("covariance", tmp_path / "run") as process:
        assert process.stdout.read().split()[-1] == undisturbed("covariance")[0]
