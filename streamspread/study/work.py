"""The study carried out step by step; a result that is there and was made the same way is not made again."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamspread import __version__, models, store, training
from streamspread.api import analyze as engine
from streamspread.api import embed as latent
from streamspread.datasets import ImageData, Labelled, StreamedImages, nested
from streamspread.errors import DataError, StoreError, StreamspreadError
from streamspread.models.plans import find_plan, format_plan
from streamspread.models.weights import read_weights, shipped_weights
from streamspread.streams import checksum
from streamspread.study.steps import Step, Training
from streamspread.system.files import check_name, file_stem, storable, why

#: Of images that are read as they are used, so many say whether they are still the same ones.
_LOOKED_AT = 256

#: What results were made with whose recipes do not say it: it could not be chosen.
_UNSAID = {"proof": True}


@dataclass(frozen=True)
class Outcome:
    """What became of a step: its file, whether it was kept, and what had changed where it was replaced."""

    path: Path
    kept: bool
    changed: tuple[str, ...]
    seconds: float


class Study:
    """Everything that the steps share: images, device, thresholds, and where results and weights go.

    folder: gets ``results/NAME.arrow`` and ``weights/NAME.safetensors``. images: that all steps draw from.
    data: the spec, for the labelled images that training needs. epochs: of a usual training. memory, proof:
    as for engine.analyze.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageData | StreamedImages,
        *,
        data: str,
        device: torch.device,
        thresholds: Sequence[float],
        epochs: int,
        seed: int = 0,
        memory: str | None = None,
        proof: bool = True,
        command: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.images, self.data, self.device = images, data, device
        self.thresholds, self.epochs, self.seed, self.memory = tuple(thresholds), epochs, seed, memory
        self.proof, self.command, self.notes = proof, list(command), list(notes)
        self.results, self.weights = folder / "results", folder / "weights"

    def check_labels(self, steps: Sequence[Step]) -> None:
        """Load the images and labels that the steps train networks with, before the first of them is done.

        Raises:
            DataError: there are none such.
        """
        parts = dict.fromkeys(step.part for step in steps if (how := self._training(step)) and how.epochs)
        if not parts:
            return
        try:
            _ = self._labelled
        except DataError as error:
            raise DataError(
                f"{error} (needed by --parts {','.join(parts)}; --epochs 0 leaves weights random)"
            ) from error

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            StoreError: one of them cannot be made or written to.
        """
        for folder in (self.results, self.weights):
            try:
                check_name(folder)
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make the folder {str(folder)!r}: {why(error)}") from error
            store.check_writable(folder / "x.arrow")

    def do(
        self,
        step: Step,
        progress: Callable[[engine.Progress], None] | None = None,
        epoch: Callable[[training.EpochReport], None] | None = None,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Make the step's result, unless it is there and was made the same way; the callbacks are those of
        engine.analyze and training.train."""
        began = time.perf_counter()
        path = self.results / f"{step.name}.arrow"
        loaded = self._load(step, epoch, on_batch)
        images = self.images if step.samples is None else nested(self.images, step.samples, self.seed)
        recipe = self._recipe(step, loaded, images)
        changed = _changed(path, recipe)
        if changed == ():
            return Outcome(path, True, (), time.perf_counter() - began)
        facts = store.run_facts(
            loaded,
            images,
            self.device,
            self.command,
            self.notes,
            seed=self.seed,
            part=step.part,
            recipe=recipe,
        )
        if step.part == "latent":
            embedding = latent.embed(
                loaded.module,
                images,
                step.layers,
                device=self.device,
                seed=self.seed,
                progress=progress,
                provenance=facts,
            )
            store.write_embedding(embedding, path)
        else:
            spectra = engine.analyze(
                loaded.module,
                images,
                step.layers,
                self.thresholds,
                device=self.device,
                memory=self.memory,
                proof=self.proof,
                seed=self.seed,
                progress=progress,
                provenance=facts,
            )
            store.write(spectra, path)
        return Outcome(path, False, changed or (), time.perf_counter() - began)

    def on_page(self, steps: Sequence[Step]) -> tuple[list[Path], list[str]]:
        """What belongs on one page with these steps, and what must be said, a line each.

        Their own files, and those of other parts or models. An earlier result of the same part and model that
        is none of the steps was made in another way, as from more images: it would be compared with them.
        """
        own = {f"{step.name}.arrow" for step in steps}
        asked = {(step.part, step.model) for step in steps}
        found, notes = [], []
        for path in sorted(self.results.glob("*.arrow")):
            if path.name in own:
                found.append(path)
                continue
            try:
                result = store.read_any(path)
            except StoreError as error:
                notes.append(f"not on the page: {error}")
                continue
            made = (result.provenance.get("part"), result.provenance.get("model"))
            if made in asked:
                notes.append(f"not on the page: {str(path)!r} is an earlier result, made in another way")
            elif not result:
                notes.append(f"not on the page: {str(path)!r} holds no layers")
            else:
                found.append(path)
        return found, notes

    def _load(
        self,
        step: Step,
        epoch: Callable[[training.EpochReport], None] | None,
        on_batch: Callable[[int, int], None] | None,
    ) -> models.LoadedModel:
        how = self._training(step)
        if how is None:
            return models.load(step.model)
        if not how.epochs:
            return models.load(step.model, "none", self.seed)
        return models.load(step.model, self._trained(step.model, how, epoch, on_batch), self.seed)

    def _training(self, step: Step) -> Training | None:
        """How the step's weights are made; None for those that the package ships."""
        if step.training is None and shipped_weights(step.model) is not None:
            return None
        return step.training or Training(self.epochs)

    def _trained(
        self,
        model: str,
        how: Training,
        epoch: Callable[[training.EpochReport], None] | None,
        on_batch: Callable[[int, int], None] | None,
    ) -> Path:
        """The weights of a training that is there already, or that is done now."""
        plan = format_plan(find_plan(model))
        path = self.weights / f"{file_stem(plan.replace(',', '-'))}-{how}.safetensors"
        train, test = self._labelled
        recipe = training.Recipe(epochs=how.epochs, label_smoothing=how.label_smoothing, seed=self.seed)
        wanted = recipe.note() | {
            "plan": plan,
            "epochs": str(how.epochs),
            "data": storable(train.description),
            "data_crc32": checksum(train.images, train.labels, test.images, test.labels),
        }
        if path.is_file():
            try:
                note = read_weights(path)[1] or {}
            except StreamspreadError:  # cut off or not ours: made again
                note = {}
            if {key: note.get(key) for key in wanted} == wanted:
                return path
        result = training.train(
            model,
            train.images,
            train.labels,
            test.images,
            test.labels,
            recipe,
            device=self.device,
            out=path,
            progress=epoch,
            on_batch=on_batch,
            data=train.description,
            command=shlex.join(self.command),
        )
        if result.interrupted:  # the best so far is on disk, but it is not what was asked for
            raise KeyboardInterrupt
        return path

    @cached_property
    def _labelled(self) -> tuple[Labelled, Labelled]:
        return training.load_splits(self.data)

    def _recipe(
        self, step: Step, loaded: models.LoadedModel, images: ImageData | StreamedImages
    ) -> dict[str, Any]:
        """All that the result depends on, as JSON holds it."""
        recipe: dict[str, Any] = {
            "version": __version__,
            "plan": loaded.plan,
            "weights": loaded.weights_sha256 or f"random, seed {self.seed}",
            "data": storable(images.description),
            "images": _checksum(images),
            "samples": images.samples,
            "layers": list(step.layers),
            "device": self.device.type,  # it decides on the rounding
            "seed": self.seed,
        }
        if step.part != "latent":  # t-SNE knows none of these
            recipe |= {"thresholds": list(self.thresholds), "memory": self.memory, "proof": self.proof}
        return recipe


def _checksum(images: ImageData | StreamedImages) -> str:
    """Of all images that are in memory, of some where they are not, evenly spread; and of all labels."""
    pixels = images.tensor
    if pixels is None:
        count = min(images.samples, _LOOKED_AT)
        some = images.subset(np.arange(count) * images.samples // count, images.description)
        pixels = torch.cat(list(some.batches()))
    return checksum(pixels) if images.labels is None else checksum(pixels, images.labels)


def _changed(path: Path, recipe: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What differs between the recipe and that of the result at ``path``; None where there is none."""
    if not path.is_file():
        return None
    try:
        made = store.read_any(path).provenance.get("recipe", {})
    except StoreError:
        return ("the file",)
    return tuple(key for key in recipe if made.get(key, _UNSAID.get(key)) != recipe[key])
