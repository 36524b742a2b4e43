"""Models and weights from the caches of Hugging Face's hub and of torch's, and what fills these."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TypeVar

from streamspread.errors import StreamspreadError, WeightsError, first_line
from streamspread.models.plans import did_you_mean, nearest
from streamspread.system.downloads import downloads, expect_answer, reason_of

T = TypeVar("T")


def from_hub(load: Callable[[], T], what: str, kind: type[StreamspreadError], name: str = "") -> T:
    """What ``load`` finds in the cache; where it finds nothing there, what it finds at the hub.

    The cache comes first, so that what was found once is found again, and the same. A hub that does not
    answer is asked once: its own client asks six times for each file.

    Args:
        what: in words, for messages. ``name``: of a model, where those in the cache may be like it.

    Raises:
        kind: it is in neither; the line says which cache was looked at.
        Exception: any but an OSError that ``load`` raises.
    """
    from huggingface_hub import constants

    refuse = f"{what}: not in the cache {constants.HF_HUB_CACHE}"
    meant = did_you_mean(nearest(name, cached_models())) if name else ""
    try:
        with _offline():
            return load()
    except OSError as error:
        if constants.HF_HUB_OFFLINE:
            raise kind(f"{refuse}, and HF_HUB_OFFLINE is set{meant}") from error
    try:
        expect_answer(constants.ENDPOINT)
    except Exception as error:
        reason = reason_of(error)
        raise kind(f"{refuse}, and {constants.ENDPOINT} cannot be reached ({reason}){meant}") from error
    try:
        with downloads("huggingface_hub.utils.tqdm"):
            return load()
    except OSError as error:
        raise kind(
            f"{refuse}, and {constants.ENDPOINT} does not give it ({first_line(error)}){meant}"
        ) from error


def from_url(load: Callable[[], T], what: str) -> T:
    """What ``load`` makes of weights that torch's own hub keeps in its cache, or downloads into it.

    Raises:
        WeightsError: they are not there; the line says which cache was looked at.
        Exception: any but an OSError that ``load`` raises.
    """
    from torch import hub

    try:
        # torch prints a line, onto what may be a pipe that wants a result.
        with downloads("torch.hub"), redirect_stdout(io.StringIO()):
            return load()
    except OSError as error:  # of urllib: only weights are ever asked for
        cache = os.path.join(hub.get_dir(), "checkpoints")
        reason = f"are not in the cache {cache} and cannot be downloaded ({reason_of(error)})"
        raise WeightsError(f"{what} {reason}") from error


def cached_models() -> list[str]:
    """The models of which the cache holds anything, as ``google/vit-base-patch16-224``."""
    from huggingface_hub import constants

    folders = Path(constants.HF_HUB_CACHE).glob("models--*")
    return sorted("/".join(folder.name.split("--")[1:]) for folder in folders)


def cached_commit(name: str) -> str | None:
    """The commit of the model in the cache; None where it is not there, as a folder's is not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # a path
        return None
    return Path(path).parent.name if isinstance(path, str) else None


@contextmanager
def _offline() -> Iterator[None]:
    """The hub's client looks into its cache alone; it has no other switch that all who use it heed."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def numbers_alone() -> Iterator[None]:
    """While this lasts, ``torch.load`` brings back tensors and plain containers alone and refuses all else,
    however it is called: libraries that publish weights call it themselves, and not all ask for that."""
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
