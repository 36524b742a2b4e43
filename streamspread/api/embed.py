"""Each layer's images as points in the plane: passes, principal components, t-SNE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from streamspread.accumulators.scores import leading_scores
from streamspread.api.tsne import PERPLEXITY, check_perplexity, check_tsne, to_planes
from streamspread.datasets.images import check_samples
from streamspread.engine.session import BATCH_SIZE, Progress
from streamspread.errors import DataError, OptionError
from streamspread.observe.placement import as_input, model_dtype, prepared
from streamspread.observe.taps import list_taps, select
from streamspread.results.embedding import Embedding, LayerEmbedding
from streamspread.streams import as_stream, count, head
from streamspread.system.devices import resolve_device


def embed(
    model: nn.Module,
    data: Any,
    layers: str | Sequence[str] = "all",
    *,
    axes: int = 50,
    perplexity: float = PERPLEXITY,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Embedding:
    """A t-SNE of each layer from its ``axes`` leading principal components.

    Args:
        model, data, layers, device, batch_size, progress, provenance: as of :func:`streamspread.analyze`; the
            data must repeat in the same order. Where it has all ``labels`` and ``classes`` they go along.
        axes: k, the principal components that t-SNE sees; fewer than there are images.
        perplexity: of t-SNE, about how many neighbours count for a point.
        seed: of the random start of the axes and of t-SNE.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
    """
    check_tsne()
    check_samples(None, seed)
    if axes < 2:
        raise OptionError(f"{axes} principal components asked for; a plane needs 2 or more")
    if not isinstance(model, nn.Module):
        raise OptionError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
    where = resolve_device(device, model)
    stream = as_stream(data)
    if not (stream.repeatable and stream.ordered):
        raise DataError(f"{stream.description}: an embedding needs data that repeats in the same order")
    samples = stream.samples if stream.samples is not None else count(stream)
    check_perplexity(perplexity, samples)
    if axes >= samples:
        raise OptionError(
            f"{axes:,} principal components asked for, and {samples:,} images have at most {samples - 1:,}: "
            "take more images, or fewer --components"
        )
    report = progress or (lambda event: None)
    size = batch_size or BATCH_SIZE[where.type]
    with prepared(model, where):
        first = head(stream, 2)
        taps = select(
            list_taps(model, as_input(first, where, model_dtype(model, first))),
            layers,
            getattr(model, "default_layers", ()),
        )
        found = leading_scores(
            model, stream, taps, axes, samples, device=where, batch_size=size, seed=seed, report=report
        )
    made = []
    report(Progress("t-SNE", 1, 1, 0, len(found), "layers", ""))
    planes = to_planes([layer.scores_NK for layer in found], perplexity, seed, torch.get_num_threads())
    for scores, plane in zip(found, planes, strict=True):
        made.append(
            LayerEmbedding(
                layer=scores.tap.name,
                shape=scores.tap.shape,
                dim=scores.tap.dim,
                axes=scores.scores_NK.shape[1],
                share=scores.share,
                points_N2=plane.points_N2,
                divergence=plane.divergence,
                seconds=plane.seconds,
            )
        )
        report(Progress("t-SNE", 1, 1, len(made), len(found), "layers", scores.tap.name))
    labels = getattr(stream, "labels", None)
    if labels is not None and bool((labels < 0).any()):  # a missing label, as test sets have them
        labels = None
    facts = {
        "device": str(where),
        "data": stream.description,
        "samples": samples,
        "axes": axes,
        "perplexity": perplexity,
        "seed": seed,
    }
    return Embedding(
        made,
        labels_N=None if labels is None else labels.numpy(),
        classes=getattr(stream, "classes", None),
        provenance={**facts, **dict(provenance or {})},
    )
