"""The loader of a data module, as Lightning calls what knows a model's data."""

from __future__ import annotations

from typing import Any

from streamspread.errors import DataError

#: Splits in the order in which they are looked for, with what Lightning calls the stage that needs them.
STAGES = {"predict": "predict", "test": "test", "val": "validate", "train": "fit"}


def is_data_module(data: object) -> bool:
    """Whether it is a LightningDataModule, of either of the packages that have one."""
    return any(kind.__name__ == "LightningDataModule" for kind in type(data).__mro__)


def loader_of(module: Any, split: str | None = None) -> tuple[Any, str]:
    """A data module's loader and its split: that one, or the first that the module has of predict, test, val
    and train. The module prepares its data and sets itself up for it, as Lightning's trainer lets it.

    Raises:
        DataError: it has no such loader, or several for the split.
    """
    has = [name for name in STAGES if _own(module, f"{name}_dataloader")]
    kind = type(module).__name__
    if not has or (split is not None and split not in has):
        asked = "loader" if split is None else f"{split}_dataloader"
        raise DataError(f"{kind} has no {asked} of its own; it has {', '.join(has) or 'none at all'}")
    split = split or has[0]
    module.prepare_data()
    module.setup(STAGES[split])
    loader = getattr(module, f"{split}_dataloader")()
    if isinstance(loader, list | tuple):
        if len(loader) != 1:
            raise DataError(f"{kind}: {split}_dataloader gives {len(loader)} loaders; give one of them")
        (loader,) = loader
    return loader, split


def _own(module: Any, name: str) -> bool:
    """Whether the module has that method from elsewhere than Lightning's base, whose own is a refusal."""
    base = next(kind for kind in type(module).__mro__ if kind.__name__ == "LightningDataModule")
    return name in vars(module) or getattr(type(module), name, None) is not getattr(base, name, None)
