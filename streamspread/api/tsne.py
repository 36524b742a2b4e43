"""From scores to points in the plane: t-SNE."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamspread.errors import MissingError, OptionError

PERPLEXITY = 30.0  # unless another one is asked for

#: t-SNE looks at three neighbours per unit of perplexity.
NEIGHBOURS = 3

#: From so many points on an interpolated gradient (FIt-SNE) is faster than a tree of points (Barnes-Hut), and
#: a process for each layer is worth its start.
_MANY = 5_000


@dataclass(frozen=True)
class Plane:
    """points_N2: float32. divergence: the Kullback-Leibler divergence at the end; NaN for a single component,
    which needs no t-SNE. seconds: it all took."""

    points_N2: np.ndarray
    divergence: float
    seconds: float


def check_perplexity(
    perplexity: float, samples: int, remedy: str = "take more, or a lower --perplexity"
) -> None:
    """Refuse a perplexity that ``samples`` images cannot have; ``remedy``: what to do about it.

    Raises:
        OptionError: below 1, or too few images for it.
    """
    if not perplexity >= 1:
        raise OptionError(f"perplexity {perplexity:g} asked for; it must be 1 or more (30 is usual)")
    if samples <= NEIGHBOURS * perplexity:
        raise OptionError(
            f"perplexity {perplexity:g} needs more than {NEIGHBOURS * perplexity:g} samples, and there are "
            f"{samples:,}: {remedy}"
        )


def check_tsne() -> None:
    """Raises MissingError where openTSNE is not installed."""
    try:
        import openTSNE  # noqa: F401
    except ImportError as error:
        raise MissingError(f"t-SNE needs openTSNE ({error}): pip install openTSNE joblib") from error


def to_planes(scores: Sequence[np.ndarray], perplexity: float, seed: int, threads: int) -> Iterator[Plane]:
    """t-SNE of every layer's scores, float32 (N, K), in their order, each as soon as it is there.

    Most of t-SNE's time goes where it has one thread, so layers run side by side, in ``threads`` processes.
    """
    from joblib import Parallel, delayed

    workers = min(threads, len(scores)) if len(scores[0]) >= _MANY else 1
    run = Parallel(n_jobs=workers, return_as="generator", max_nbytes=None)
    yield from run(delayed(to_plane)(scores_NK, perplexity, seed, threads // workers) for scores_NK in scores)


def to_plane(scores_NK: np.ndarray, perplexity: float, seed: int, threads: int) -> Plane:
    """t-SNE of the scores, float32 (N, K).

    It starts from the two leading components. A single one lies on the line as it is: points (x, 0). The same
    seed gives the same points on the same machine.
    """
    from openTSNE import TSNE

    began = time.perf_counter()
    spread = scores_NK.std(axis=0)
    if not spread.any():  # a constant layer has no neighbours to keep
        return Plane(np.zeros((len(scores_NK), 2), np.float32), 0.0, time.perf_counter() - began)
    if scores_NK.shape[1] == 1:
        points_N2 = np.pad(scores_NK, ((0, 0), (0, 1))).astype(np.float32)
        return Plane(points_N2, math.nan, time.perf_counter() - began)
    tsne = TSNE(
        perplexity=perplexity,
        initialization="pca",
        negative_gradient_method="bh" if len(scores_NK) < _MANY else "fft",
        random_state=seed % 2**32,  # the seeds that NumPy's older generator takes
        n_jobs=threads,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's and SciPy's, about their own insides
        found = tsne.fit(np.ascontiguousarray(scores_NK, dtype=np.float32))
    points_N2 = np.asarray(found, dtype=np.float32)
    return Plane(points_N2, float(found.kl_divergence), time.perf_counter() - began)
