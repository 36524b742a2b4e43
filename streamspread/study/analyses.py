"""The study carried out step by step; a result that is there, and was made in the same way, is kept."""

from __future__ import annotations

import glob
import json
import shlex
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamspread import models, store, training
from streamspread.api import analyze as engine
from streamspread.api import embed as latent
from streamspread.datasets import ImageData, Labelled, StreamedImages, nested
from streamspread.errors import DataError, StoreError, StreamspreadError
from streamspread.models.plans import find_plan, format_plan
from streamspread.models.weights import read_weights, shipped_weights
from streamspread.reports.build import check_folder
from streamspread.study.steps import Step, TrainingSpec
from streamspread.system.progress import Report
from streamspread.system.tensors import checksum
from streamspread.system.text import file_stem, storable
from streamspread.system.version import __version__

#: How many images are compared where not all are in memory; reading all of them would take as long as a pass.
_COMPARED = 256


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        path: of its result.
        kept: whether the result was there already, made in the same way.
        changed: the entries of its recipe that differed, where an earlier result was replaced.
        seconds: that the step took.
    """

    path: Path
    kept: bool
    changed: tuple[str, ...]
    seconds: float


@dataclass(eq=False)  # == on images would raise, not compare
class Study:
    """What all steps share, and where results and weights go.

    Attributes:
        folder: gets ``results/NAME.arrow`` and ``weights/NAME.safetensors``.
        images: those that all steps draw from.
        data: their spec, by which training finds images with labels.
        device: where everything runs. ``seed``: of random weights, trainings, draws and eigenvalue searches.
        thresholds, memory, proof: as for :func:`streamspread.api.analyze.analyze`.
        epochs: of a usual training.
        command, notes: as for :func:`streamspread.store.provenance`.
    """

    folder: Path
    images: ImageData | StreamedImages
    _: KW_ONLY
    data: str
    device: torch.device
    thresholds: Sequence[float]
    epochs: int
    seed: int = 0
    memory: str | int | None = None
    proof: bool = True
    command: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def results(self) -> Path:
        """The folder of results."""
        return self.folder / "results"

    @property
    def weights(self) -> Path:
        """The folder of weights that were trained here."""
        return self.folder / "weights"

    @contextmanager
    def _kept(self, name: str, recipe: Mapping[str, Any]) -> Iterator[Path]:
        """The place of a step's checkpoint, which its recipe is part of: one of another recipe is of no use
        any more, and goes. The folder goes when nothing is in it."""
        folder, stem = self.folder / "checkpoints", file_stem(name)
        recipe_sum = zlib.crc32(json.dumps(recipe, sort_keys=True, default=str).encode())
        path = folder / f"{stem}-{recipe_sum:08x}"
        check_folder(folder)
        for other in folder.glob(f"{glob.escape(stem)}-{'[0-9a-f]' * 8}"):
            if other != path:
                other.unlink(missing_ok=True)
        try:
            yield path
        finally:
            with suppress(OSError):
                folder.rmdir()

    def check_labels(self, steps: Sequence[Step]) -> None:
        """Load the labelled images that the steps train networks with, before the first step is done.

        Raises:
            DataError: the data has no labels, and a step needs them.
        """
        parts = dict.fromkeys(step.part for step in steps if (spec := self._training(step)) and spec.epochs)
        if not parts:
            return
        try:
            _ = self._labelled
        except DataError as error:
            raise DataError(
                f"{error} (needed by --parts {','.join(parts)}; --epochs 0 leaves weights random)"
            ) from error

    def prepare(self) -> None:
        """Make the folders of results and weights. StoreError: one cannot be made or written to."""
        for folder in (self.results, self.weights):
            check_folder(folder)

    def do(
        self,
        step: Step,
        progress: Report | None = None,
        callbacks: training.Callbacks | None = None,
    ) -> Outcome:
        """Make the step's result, unless it is there and was made in the same way.

        Args:
            progress: called with signs of life, as by :func:`streamspread.api.analyze.analyze`.
            callbacks: of trainings, as by :func:`streamspread.training.train`.

        Raises:
            StreamspreadError: as those two, :func:`streamspread.api.embed.embed` and
                :func:`streamspread.store.write`.
            KeyboardInterrupt: also where a training caught it, since its weights are not those asked for.
        """
        began = time.perf_counter()
        path = self.results / f"{step.name}.arrow"
        loaded = self._load(step, callbacks)
        images = self.images if step.samples is None else nested(self.images, step.samples, self.seed)
        recipe = self._recipe(step, loaded, images)
        changed = _changed(path, recipe)
        if changed == ():
            return Outcome(path, True, (), time.perf_counter() - began)
        provenance = store.run_facts(
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
                provenance=provenance,
            )
            store.write_embedding(embedding, path)
        else:
            with self._kept(step.name, recipe) as kept:
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
                    provenance=provenance,
                    checkpoint=kept,
                )
                store.write(spectra, path)
        return Outcome(path, False, changed or (), time.perf_counter() - began)

    def on_page(self, steps: Sequence[Step]) -> tuple[list[Path], list[str]]:
        """The results that belong on one page with these steps, and notes on those left out, a line each.

        These are the steps' own files, and those of other parts or models. A result of the same part and
        model that is none of the steps was made in another way, as from more images. It is left out, since a
        page would compare the two.
        """
        own = {f"{step.name}.arrow" for step in steps}
        asked = {(step.part, step.model) for step in steps}
        shown, notes = [], []
        for path in sorted(self.results.glob("*.arrow")):
            if path.name in own:
                shown.append(path)
                continue
            try:
                result = store.read_any(path)
            except StoreError as error:
                notes.append(f"not on the page: {error}")
                continue
            part_and_model = (result.provenance.get("part"), result.provenance.get("model"))
            if part_and_model in asked:
                notes.append(f"not on the page: {str(path)!r} is an earlier result, made in another way")
            elif not result:
                notes.append(f"not on the page: {str(path)!r} holds no layers")
            else:
                shown.append(path)
        return shown, notes

    def _load(self, step: Step, callbacks: training.Callbacks | None) -> models.LoadedModel:
        spec = self._training(step)
        if spec is None:
            return models.load(step.model)
        if not spec.epochs:
            return models.load(step.model, "none", self.seed)
        return models.load(step.model, self._trained(step.model, spec, callbacks), self.seed)

    def _training(self, step: Step) -> TrainingSpec | None:
        """The training that the step's weights come from; None for weights that the package ships."""
        if step.training is None and shipped_weights(step.model) is not None:
            return None
        return step.training or TrainingSpec(self.epochs)

    def _trained(self, model: str, spec: TrainingSpec, callbacks: training.Callbacks | None) -> Path:
        """The file of a training's weights: the one that is there, if by the same recipe, else a new one."""
        plan = format_plan(find_plan(model))
        path = self.weights / f"{file_stem(plan.replace(',', '-'))}-{spec}.safetensors"
        train, test = self._labelled
        recipe = training.Recipe(epochs=spec.epochs, label_smoothing=spec.label_smoothing, seed=self.seed)
        wanted = recipe.note() | {
            "plan": plan,
            "epochs": str(spec.epochs),
            "data": storable(train.description),
            "data_crc32": checksum(train.images, train.labels, test.images, test.labels),
        }
        if path.is_file():
            try:
                note = read_weights(path)[1] or {}
            except StreamspreadError:  # cut off, or another program's: the training is done again
                note = {}
            if {key: note.get(key) for key in wanted} == wanted and "spread_layers" not in note:
                return path
        with self._kept(path.stem, wanted) as kept:
            result = training.train(
                model,
                train,
                test,
                recipe,
                device=self.device,
                output=training.Output(path=path, command=shlex.join(self.command), checkpoint=kept),
                callbacks=callbacks,
            )
            if result.interrupted:  # the best weights so far are on disk, but not those of the whole training
                raise KeyboardInterrupt
        return path

    @cached_property
    def _labelled(self) -> tuple[Labelled, Labelled]:
        return training.load_splits(self.data)

    def _recipe(
        self, step: Step, loaded: models.LoadedModel, images: ImageData | StreamedImages
    ) -> dict[str, Any]:
        """Everything that the result depends on, by name, as JSON holds it."""
        recipe: dict[str, Any] = {
            "version": __version__,
            "plan": loaded.plan,
            "weights": loaded.weights_sha256 or f"random, seed {self.seed}",
            "data": storable(images.description),
            "images": _checksum(images),
            "samples": images.samples,
            "layers": list(step.layers),
            "device": self.device.type,  # the precision depends on it
            "seed": self.seed,
        }
        if step.part != "latent":  # t-SNE uses none of these
            recipe |= {"thresholds": list(self.thresholds), "memory": self.memory, "proof": self.proof}
        return recipe


def _checksum(images: ImageData | StreamedImages) -> str:
    """Over all images where they are in memory, else over some, evenly spread; and over all labels."""
    pixels = images.tensor
    if pixels is None:
        count = min(images.samples, _COMPARED)
        some = images.subset(np.arange(count) * images.samples // count, images.description)
        pixels = torch.cat(list(some.batches()))
    return checksum(pixels) if images.labels is None else checksum(pixels, images.labels)


def _changed(path: Path, recipe: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of what differs between the recipe and that of the result at ``path``, ("the file",) where
    that cannot be read; None where there is no result."""
    if not path.is_file():
        return None
    try:
        earlier = store.read_any(path).provenance.get("recipe", {})
    except StoreError:
        return ("the file",)
    return tuple(key for key in recipe if earlier.get(key) != recipe[key])
