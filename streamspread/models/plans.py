"""Plans of the reference networks: channels and pooling as data, checked before a network is built."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from streamspread.errors import ModelError

IMAGE_SIZE = 32  # the reference networks are made for 32x32 images
POOL = "M"  # a 2x2 max-pool, written as in the VGG tables
MOST_CHANNELS = 8192  # two such convolutions in a row: 2.4 GB of weights

PLANS: dict[str, str] = {
    "no1": "64,64,M,128,128,M,256,256",
    "no2": "32,32,M,64,64,M,128,128",
    "no3": "64,64,M,128,128,128,128",
    "no4": "64,64,M,128,M,256,256,256",
}

#: Channels of a convolution, or POOL, one after the other.
Steps = tuple[int | str, ...]


def parse_plan(plan: str | Sequence[int | str], image_size: int = IMAGE_SIZE) -> Steps:
    """A plan as numbers of channels and ``"M"`` (max-pool), such as ``(64, 64, "M", 128)``.

    A text separates its steps by commas or spaces.

    Raises:
        ModelError: neither a text nor a sequence, a step that is neither M nor a whole number from 1 to
            MOST_CHANNELS, no convolution, or so many max-pools that nothing is left of an image of
            ``image_size`` pixels.
    """
    if not isinstance(plan, Sequence):
        raise ModelError(f"a plan is a text or a sequence, not of type {type(plan).__name__}")
    steps: Iterable[object] = re.split(r"[,\s]+", plan.strip()) if isinstance(plan, str) else plan
    parsed = tuple(_parse_step(step, plan) for step in steps)
    if all(step == POOL for step in parsed):
        raise ModelError(f"plan {_shown(plan)} has no convolution; write e.g. 64,64,M,128,128")
    pools, most = parsed.count(POOL), image_size.bit_length() - 1
    if pools > most:
        raise ModelError(
            f"plan {_shown(plan)} pools {pools} times: of {image_size} pixels, use at most {most} M"
        )
    return parsed


def format_plan(plan: Sequence[int | str]) -> str:
    """The plan as it is written everywhere, such as ``"64,64,M,128"``."""
    return ",".join(str(step) for step in plan)


def find_plan(spec: str) -> Steps:
    """The plan that ``no1`` … ``no4``, ``plan:64,64,M,128`` or ``64,64,M,128`` itself stands for.

    Raises:
        ModelError: any other text; it names the nearest reference network.
    """
    if spec in PLANS:
        return parse_plan(PLANS[spec])
    text = spec.removeprefix("plan:")
    if text == spec and not re.match(r"\s*[\dMm]", spec):
        meant = did_you_mean(nearest(spec, PLANS))
        raise ModelError(f"unknown reference network {spec!r}{meant}; known: {', '.join(PLANS)}")
    return parse_plan(text)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` was most likely meant to be; None where none is near."""
    return next(iter(difflib.get_close_matches(word.lower(), list(known), n=1)), None)


def did_you_mean(guess: str | None) -> str:
    """The end of an error message that offers a guess; empty where there is none."""
    return f", did you mean {guess!r}?" if guess else ""


def _parse_step(step: object, plan: str | Sequence[int | str]) -> int | str:
    if isinstance(step, str) and step.upper() == POOL:
        return POOL
    channels = step
    if isinstance(step, str) and step.isascii() and step.isdigit():
        # int() raises for thousands of digits, and 20 are too many channels already.
        channels = int(step) if len(step) < 20 else MOST_CHANNELS + 1
    if not isinstance(channels, int) or isinstance(channels, bool) or channels <= 0:
        raise ModelError(f"plan {_shown(plan)}: step {step!r} is neither a positive number of channels nor M")
    if channels > MOST_CHANNELS:
        raise ModelError(f"plan {_shown(plan)} has {step} channels; use at most {MOST_CHANNELS:,}")
    return channels


def _shown(plan: str | Sequence[int | str]) -> str:
    return repr(plan if isinstance(plan, str) else format_plan(plan))
