"""How much of a whole study is done, by the work that its steps foresee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from streamspread.models.plans import IMAGE_SIZE, POOL, find_plan
from streamspread.study.steps import EVERY_TAP, Step, TrainingSpec
from streamspread.system.devices import Profile
from streamspread.system.progress import Progress, Report

_BACKWARD = 3.0  # a training step takes about three times a forward
_TSNE = 4e7  # operations' worth of time of a point's t-SNE: 2 ms, where a core has 20 GFLOP/s


class Work(NamedTuple):
    """What a step takes, as operations at the device's usual precision: its training, and what follows it."""

    training: float
    rest: float


def foreseen(step: Step, samples: int, epochs: int, learnt: int, profile: Profile) -> Work:
    """About what a step takes, of which the share in the whole is to be told and nothing else.

    Args:
        samples: of the study. ``epochs``: of the step's training, 0 for none, over ``learnt`` images.
    """
    count = min(samples, step.samples or samples)
    forward, dims = _network(step.model)
    training = _BACKWARD * forward * learnt * epochs
    taps = 3 if step.layers == EVERY_TAP else 1
    sums = taps * sum(count * dim * min(count, dim) for dim in dims)
    points = len(dims) * count * _TSNE if step.part == "latent" else 0.0
    return Work(profile.forward_cost * training, profile.forward_cost * forward * count + sums + points)


def learnt(model: str, images: int, epochs: int) -> Work:
    """What a training takes that nothing much follows, beside others like it."""
    return Work(_BACKWARD * _network(model)[0] * images * epochs, 0.0)


def works(
    steps: Sequence[Step],
    trainings: Sequence[TrainingSpec | None],
    samples: int,
    learnt: int,
    profile: Profile,
) -> list[Work]:
    """Of each step, whose training counts with the first that needs it; None: its weights are there."""
    found, trained = [], set()
    for step, training in zip(steps, trainings, strict=True):
        new = training is not None and (step.model, training) not in trained
        trained.add((step.model, training))
        found.append(foreseen(step, samples, training.epochs if training and new else 0, learnt, profile))
    return found


def _network(model: str) -> tuple[float, list[int]]:
    """Operations of a forward of one image, and D of each convolution."""
    side, channels, operations, dims = IMAGE_SIZE, 3, 0.0, []
    for step in find_plan(model):
        if step == POOL:
            side //= 2
            continue
        operations += 2.0 * 9 * channels * int(step) * side**2
        channels = int(step)
        dims.append(channels * side**2)
    return operations, dims


class Agenda:
    """Hands on signs of life with how much of all steps is done; a step that was there already is done at
    once."""

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = works
        self._sum = sum(map(sum, works)) or 1.0

    def of(self, index: int, report: Report) -> tuple[Report, Report]:
        """For the training of a step, and for the rest of it."""
        before = sum(map(sum, self._works[:index]))
        work = self._works[index]
        return (
            self._within(before, work.training, report),
            self._within(before + work.training, work.rest, report),
        )

    def _within(self, before: float, work: float, report: Report) -> Report:
        def hand_on(event: Progress) -> None:
            share = _share(event)
            whole = None if share is None else (before + work * share) / self._sum
            report(replace(event, whole=whole))

        return hand_on


def _share(event: Progress) -> float | None:
    """What is done of a part: as it says itself, or of layers whose t-SNE is made one after the other."""
    if event.whole is None and event.stage == "t-SNE" and event.total:
        return event.done / event.total
    return event.whole
