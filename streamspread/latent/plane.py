"""From scores to points in the plane: t-SNE."""

from __future__ import annotations

import warnings

import numpy as np

from streamspread.errors import MissingError, OptionError

#: t-SNE looks at three neighbours per unit of perplexity.
NEIGHBOURS = 3

#: From so many points on an interpolated gradient (FIt-SNE) is faster than a tree of points (Barnes-Hut).
_INTERPOLATE_FROM = 5_000


def check_perplexity(perplexity: float, samples: int) -> None:
    """Refuse a perplexity that ``samples`` images cannot have.

    Raises:
        OptionError: below 1, or too few images for it.
    """
    if not perplexity >= 1:
        raise OptionError(f"perplexity {perplexity:g} asked for; it must be 1 or more (30 is usual)")
    if samples <= NEIGHBOURS * perplexity:
        raise OptionError(
            f"perplexity {perplexity:g} needs more than {NEIGHBOURS * perplexity:g} images, and there are "
            f"{samples:,}: take more, or a lower --perplexity"
        )


def check_tsne() -> None:
    """Raises MissingError where openTSNE is not installed."""
    try:
        import openTSNE  # noqa: F401
    except ImportError as error:
        raise MissingError(f"t-SNE needs openTSNE ({error}): pip install 'streamspread[figures]'") from error


def to_plane(scores_NK: np.ndarray, perplexity: float, seed: int, threads: int) -> tuple[np.ndarray, float]:
    """t-SNE of the scores: (points, float32 (N, 2); the Kullback-Leibler divergence it ended with).

    It starts from the two leading components. The same seed gives the same points on the same machine.
    """
    from openTSNE import TSNE

    spread = scores_NK.std(axis=0)
    if not spread.any():  # a constant layer has no neighbours to keep
        return np.zeros((len(scores_NK), 2), np.float32), 0.0
    tsne = TSNE(
        perplexity=perplexity,
        initialization="pca",
        negative_gradient_method="bh" if len(scores_NK) < _INTERPOLATE_FROM else "fft",
        random_state=seed,
        n_jobs=threads,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's and SciPy's, about their own insides
        found = tsne.fit(np.ascontiguousarray(scores_NK, dtype=np.float32))
    return np.asarray(found, dtype=np.float32), float(found.kl_divergence)
