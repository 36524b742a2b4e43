"""Named spectra: the one table of all tests, as variances of samples or eigenvalues of matrices."""

import numpy as np


def _steps(d, rng):
    if rng is None:
        return np.repeat([10.0, 1.0, 0.1, 0.01], -(-d // 4))[:d] * np.linspace(1.01, 1.0, d)
    return 10.0 ** -np.sort(rng.integers(0, 5, d))


def _rank_deficient(d, rng):
    index = np.arange(d)
    if rng is None:
        return np.where(index < 37, 1.0 / (index + 1) ** 0.5, 0.0)
    return np.where(index < rng.integers(1, d + 1), rng.random(d) + 0.1, 0.0)


def _repeated(d, rng):
    if rng is None:
        return np.repeat(1.0 / np.arange(1, d + 1), 4)[:d]
    return np.repeat(rng.random(d) + 0.01, rng.integers(2, 8))[:d]


def _one_huge(d, rng):
    if rng is None:
        return np.concatenate([[1e4], 1.0 / np.arange(1, d) ** 0.7])
    return np.where(np.arange(d) == 0, 10.0 ** rng.uniform(2, 6), rng.random(d))


_TABLE = {
    "flat": lambda d, rng: np.ones(d),
    "nearly flat": lambda d, rng: np.linspace(1.0, 0.9, d),
    "harmonic": lambda d, rng: 1.0 / np.arange(1, d + 1),
    "power law": lambda d, rng: np.arange(1, d + 1) ** -(0.8 if rng is None else rng.uniform(0.3, 2.0)),
    "steep": lambda d, rng: 0.9 ** np.arange(d),
    "steeper": lambda d, rng: 0.7 ** np.arange(d),
    "steps": _steps,
    "rank-deficient": _rank_deficient,
    "of rank 23": lambda d, rng: np.where(np.arange(d) < 23, 1.0 / np.arange(1, d + 1), 0.0),
    "repeated": _repeated,
    "one huge": _one_huge,
    "one dominant": lambda d, rng: np.concatenate([[1e6], 1.0 / np.arange(1, d)]),
}

#: Those of which samples are drawn, those of matrices, and those whose numbers a generator draws.
SAMPLED = (
    *("flat", "nearly flat", "steep", "steeper", "rank-deficient", "of rank 23"),
    *("one dominant", "power law"),
)
SOLVED = ("harmonic", "steep", "rank-deficient", "one huge", "steps")
DRAWN = ("flat", "one huge", "power law", "rank-deficient", "repeated", "steps")


def variances(name, d, rng=None):
    """(d,) in descending order; with a generator its numbers are drawn, in any order."""
    return _TABLE[name](d, rng)
