"""Bounds on sums of all computed eigenvalues, and at which of them eigenvectors are worth their time."""

import numpy as np
import pytest

from streamspread.linalg.certificates import Slack, sums_between, worth_vectors

VALUES = np.array([5.0, 3.0, 1.5, 0.5])


def test_bounds_enclose_the_sums_by_the_smaller_of_head_and_tail():
    lower, upper = sums_between(VALUES, Slack(0.01, 0.0), 10.0, 4)
    sums = np.cumsum(VALUES)
    assert (lower <= sums).all()
    assert (sums <= upper).all()
    np.testing.assert_allclose((sums - lower)[:3], 0.01 * np.sqrt([1, 2, 1]), rtol=1e-9)
    assert upper[-1] == 10.0


def test_bounds_of_no_slack_are_the_sums():
    lower, upper = sums_between(VALUES, Slack(0.0, 0.0), 10.0, 4)
    np.testing.assert_array_equal(lower, np.cumsum(VALUES))
    np.testing.assert_array_equal(upper, np.cumsum(VALUES))


@pytest.mark.parametrize(
    ("targets", "most"),
    [
        ([7.95], 2),  # the sum of two, 8.0, reaches it, and its lower bound does not
        ([8.05], 0),  # only an upper bound reaches it: vectors give none
        ([7.0], 0),  # closed
        ([10.0], 0),  # the trace itself
        ([4.95, 7.95, 7.0], 2),
        ([], 0),
    ],
)
def test_vectors_are_for_sums_that_reach_a_target(targets, most):
    lower, upper = sums_between(VALUES, Slack(0.1, 0.0), 10.0, 4)
    assert worth_vectors(VALUES, lower, upper, targets) == most
