"""Each layer's images as points in the plane: an analysis that keeps their scores, then t-SNE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import torch

from streamspread.api.doors import Subject, door
from streamspread.api.facts import with_facts
from streamspread.api.tsne import check_perplexity, check_tsne, to_planes
from streamspread.engine.analysis import analyzed
from streamspread.errors import DataError, OptionError
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


class InterruptedEmbedding(KeyboardInterrupt):
    """Ctrl-C when some layers' points were there, which ``embedding`` holds; ``partial`` in its provenance
    has the names of the others."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding


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
        InterruptedEmbedding: (a KeyboardInterrupt) Ctrl-C when some layers' points were there.
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
    if left:
        notes = [f"a partial result: interrupted before {', '.join(left)}"]
        facts |= {"partial": left, "notes": notes}
    labels = stream.labels
    if labels is not None and bool((labels < 0).any()):  # a missing label, as test sets have them
        labels = None
    embedding = Embedding(
        points,
        labels_N=None if labels is None else labels.numpy(),
        classes=stream.classes,
        provenance=with_facts(facts, call.model, observed, call.provenance),
    )
    if left:
        raise InterruptedEmbedding(embedding)
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
