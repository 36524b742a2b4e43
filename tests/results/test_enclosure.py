"""Sums that enclose those of leading eigenvalues, from the facts of a sketch."""

import numpy as np

from streamspread.results.bounds import SketchFacts, enclose


def test_upper_sums_reach_past_the_sketch_until_the_threshold():
    facts = SketchFacts(np.array([3.0, 1.0]), 0.5, 0.0, 0.0, 10.0, 0.0)
    enclosure = enclose(facts, None, rank_limit=100, largest_threshold=0.9)
    np.testing.assert_allclose(enclosure.upper_sums[:4], [3.5, 5.0, 5.5, 6.0])
    assert enclosure.upper_sums[-1] >= 9.0
    assert len(enclosure.upper_sums) < 20
    assert len(enclose(facts, None, rank_limit=3, largest_threshold=0.9).upper_sums) == 3


def test_what_the_lower_bounds_of_the_others_take_is_not_left_for_the_first():
    facts = SketchFacts(np.array([3.0, 2.0, 1.0]), 0.5, 0.0, 0.0, 6.5, 0.0)
    enclosure = enclose(facts, None, rank_limit=3, largest_threshold=0.5)
    np.testing.assert_allclose(enclosure.upper_sums, [3.5, 5.5, 6.5])
    assert not enclosure.complete
