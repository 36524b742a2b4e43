"""Each layer's images as points in the plane: an analysis that keeps their scores, then t-SNE."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import torch

from streamspread.api.calls import Subject, door, with_facts
from streamspread.engine.analysis import analyzed
from streamspread.errors import DataError, Interrupted, MissingError, OptionError, partial_facts
from streamspread.observe.observed import observing
from streamspread.options import EmbedOptions, Options
from streamspread.results.embedding import Embedding, LayerEmbedding
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.streams.adapt import as_stream
from streamspread.streams.stream import count
from streamspread.system.progress import Progress, Report
from streamspread.system.progress_display import Shown, shown
from streamspread.system.torch_state import as_before

_ANY = 1e-3  # a threshold, since an analysis has one


@dataclass(frozen=True)
class EmbedCall(EmbedOptions, Subject):
    """The arguments of :func:`embed`."""

    _: KW_ONLY
    progress: Shown = "auto"
    provenance: Mapping[str, Any] | None = None


@door(EmbedCall)
def embed(call: EmbedCall) -> Embedding:
    """A t-SNE of each layer from its leading principal components.

    Args:
        model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
        data: as of :func:`streamspread.analyze`, and it must repeat in the same order. Where it has all
            ``labels`` and ``classes`` they go along.
        {options}
        forward, progress, provenance: as of :func:`streamspread.analyze`.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
        Interrupted: (a KeyboardInterrupt) Ctrl-C when some layers' points were there.
    """
    check_tsne()
    stream = as_stream(call.data)
    if not (stream.repeatable and stream.ordered):
        raise DataError(f"{stream.description}: an embedding needs data that repeats in the same order")
    with as_before(torch.device("cpu")):
        samples = count(stream)
    check_perplexity(call.perplexity, samples)
    if call.axes >= samples:
        raise OptionError(
            f"{call.axes:,} principal components asked for, and {samples:,} samples have at most "
            f"{samples - 1:,}: take more samples, or fewer --components"
        )
    options = _summed(call)
    with shown(call.progress) as report:
        with observing(call.model, stream, options, forward=call.forward) as observed:
            most = max(tap.dim for tap in observed.taps)
            spectra = analyzed(observed, replace(options, directions=min(call.axes, most)), report)
        points: list[LayerEmbedding] = []
        try:
            _planes(spectra, samples, call, report, points)
        except KeyboardInterrupt:
            if not points:
                raise
    facts: dict[str, Any] = {
        "device": str(observed.device),
        "data": stream.description,
        "data_seen": spectra.provenance["data_seen"],
        "samples": samples,
        "samples_are": observed.called,
        "options": call.asked(),
        "axes": call.axes,
        "perplexity": call.perplexity,
        "seed": call.seed,
    }
    left = list(spectra)[len(points) :]
    labels = stream.labels
    if labels is not None and bool((labels < 0).any()):  # a missing label, as test sets have them
        labels = None
    embedding = Embedding(
        points,
        labels_N=None if labels is None else labels.numpy(),
        classes=stream.classes,
        provenance=with_facts(facts | partial_facts(left), call.model, observed, call.provenance),
    )
    if left:
        raise Interrupted(embedding, left)
    return embedding


def _summed(call: EmbedCall) -> Options:
    """What an analysis is asked, of which only the scores are kept: no K, so a small one."""
    return Options(
        layers=call.layers,
        thresholds=(_ANY,),
        memory=call.memory,
        device=call.device,
        batch_size=call.batch_size,
        seed=call.seed,
        directions=call.axes,
        scores=True,
        proof=False,
        estimate=False,
    )


def _planes(
    spectra: Spectra, samples: int, call: EmbedCall, report: Report, points: list[LayerEmbedding]
) -> None:
    """t-SNE of every layer's scores, into ``points`` one after the other."""
    layers = list(spectra.values())
    report(Progress("t-SNE", 1, 1, 0, len(layers), "layers", ""))
    scores = [_scores(layer, samples) for layer in layers]
    planes = to_planes(scores, call.perplexity, call.seed, torch.get_num_threads())
    for layer, scores_NK, plane in zip(layers, scores, planes, strict=True):
        along = float(layer.leading.variances_K.sum()) if layer.leading else 0.0
        points.append(
            LayerEmbedding(
                layer=layer.layer,
                shape=layer.shape,
                dim=layer.dim,
                axes=scores_NK.shape[1],
                share=min(along / layer.total_variance, 1.0) if layer.total_variance > 0 else math.nan,
                points_N2=plane.points_N2,
                divergence=plane.divergence,
                seconds=plane.seconds,
            )
        )
        report(Progress("t-SNE", 1, 1, len(points), len(layers), "layers", layer.layer))


def _scores(layer: LayerSpectrum, samples: int) -> np.ndarray:
    """(N, K) float32; of a constant layer one axis, on which all lie at 0."""
    known = None if layer.leading is None else layer.leading.scores_NK
    return np.zeros((samples, 1), np.float32) if known is None or not known.size else known


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
