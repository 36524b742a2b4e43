"""Each layer's images as points in the plane: passes, principal components, t-SNE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch

from streamspread.accumulators.scores import FIRST_LOOK, PASSES, LeadingScores, Scores
from streamspread.api.doors import Subject, door
from streamspread.api.facts import with_facts
from streamspread.api.tsne import check_perplexity, check_tsne, to_planes
from streamspread.errors import BudgetError, DataError, OptionError
from streamspread.observe.observed import Observed, observing
from streamspread.observe.passes import Passes, Turn
from streamspread.observe.taps import TapInfo
from streamspread.options import EmbedOptions
from streamspread.results.embedding import Embedding, LayerEmbedding
from streamspread.streams import as_stream, count
from streamspread.system.bars import Shown, shown
from streamspread.system.generators import as_before
from streamspread.system.memory import at_least, format_bytes
from streamspread.system.progress import Progress, Report


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
            f"{call.axes:,} principal components asked for, and {samples:,} images have at most "
            f"{samples - 1:,}: take more images, or fewer --components"
        )
    with shown(call.progress) as report:
        with observing(call.model, stream, call, forward=call.forward) as observed:
            passes = Passes(observed, report)
            layers = leading_scores(passes, call.axes, samples, call.seed)
        points = _planes(observed.taps, layers, call, report)
    facts = {
        "device": str(observed.device),
        "data": stream.description,
        "data_seen": passes.data_seen,
        "samples": samples,
        "options": call.asked(),
        "axes": call.axes,
        "perplexity": call.perplexity,
        "seed": call.seed,
    }
    labels = stream.labels
    if labels is not None and bool((labels < 0).any()):  # a missing label, as test sets have them
        labels = None
    return Embedding(
        points,
        labels_N=None if labels is None else labels.numpy(),
        classes=stream.classes,
        provenance=with_facts(facts, call.model, observed, call.provenance),
    )


def leading_scores(passes: Passes, axes: int, samples: int, seed: int) -> list[Scores]:
    """The scores of all samples on the ``axes`` leading principal axes of each tap, in network order; so many
    layers at a time as the budget holds.

    Raises:
        ActivationError: NaN or Inf in a layer.
        BudgetError: a layer does not fit.
        DataError: the passes brought different data.
    """
    observed = passes.observed
    groups = _groups(observed, axes, samples)
    stride = max(1, samples // FIRST_LOOK)
    total = len(groups) * len(PASSES)
    scores: list[Scores] = []
    for number, taps in enumerate(groups):
        layers = {
            tap.name: LeadingScores(tap.dim, axes, samples, tap.name, observed.device, seed) for tap in taps
        }
        for index, stage in enumerate(PASSES):
            # In the first look every so many-th batch, so that data sorted by class shows all classes.
            passes.run(
                taps,
                lambda tap, x_ND, layers=layers: layers[tap.name].update(x_ND),  # type: ignore[misc]
                Turn(number * len(PASSES) + index + 1, total, stage),
                every=stride if index == 0 else 1,
            )
            for layer in layers.values():
                layer.end_pass()
        scores += [layer.scores() for layer in layers.values()]
    return scores


def _groups(observed: Observed, axes: int, samples: int) -> list[list[TapInfo]]:
    """The taps, cut into groups that fit into the budget together with a forward."""
    room = observed.budget - observed.resident_bytes - observed.forward_bytes
    groups: list[list[TapInfo]] = []
    left = -1
    for tap in observed.taps:
        needed = LeadingScores.nbytes(tap.dim, axes, samples, observed.batch_size, observed.device)
        if needed > room:
            least = at_least(needed + observed.budget - room)
            raise BudgetError(
                f"layer {tap.name} (D = {tap.dim:,}) does not fit into {format_bytes(observed.budget)}: the "
                f"smallest budget that would do is {least}, or take fewer --components"
            )
        if needed > left:
            groups.append([])
            left = room
        groups[-1].append(tap)
        left -= needed
    return groups


def _planes(
    taps: Sequence[TapInfo], layers: Sequence[Scores], call: EmbedCall, report: Report
) -> list[LayerEmbedding]:
    """t-SNE of every layer's scores."""
    points = []
    report(Progress("t-SNE", 1, 1, 0, len(layers), "layers", ""))
    planes = to_planes(
        [layer.scores_NK for layer in layers], call.perplexity, call.seed, torch.get_num_threads()
    )
    for tap, scores, plane in zip(taps, layers, planes, strict=True):
        points.append(
            LayerEmbedding(
                layer=tap.name,
                shape=tap.shape,
                dim=tap.dim,
                axes=scores.scores_NK.shape[1],
                share=scores.share,
                points_N2=plane.points_N2,
                divergence=plane.divergence,
                seconds=plane.seconds,
            )
        )
        report(Progress("t-SNE", 1, 1, len(points), len(layers), "layers", tap.name))
    return points
