"""What a DataLoader tells of its batches before any is read, and one that begins later."""

from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler


def length(sized: Any) -> int | None:
    """len(), or None where that is not known."""
    try:
        return len(sized)
    except (TypeError, NotImplementedError):
        return None


def loader_samples(loader: DataLoader[Any]) -> int | None:
    """The number of samples in one pass; None where the loader does not say."""
    if isinstance(loader.dataset, IterableDataset) or type(loader.batch_sampler) is not BatchSampler:
        return None
    drawn = length(loader.batch_sampler.sampler)
    if drawn is None:
        return None
    return drawn - drawn % loader.batch_sampler.batch_size if loader.batch_sampler.drop_last else drawn


def loader_ordered(loader: DataLoader[Any]) -> bool:
    """Whether every pass has the same order: of an iterable data set that is assumed, of samplers only the
    sequential one is known to keep it."""
    if isinstance(loader.dataset, IterableDataset):
        return True
    if loader.batch_sampler is None:
        return isinstance(loader.sampler, SequentialSampler)
    return type(loader.batch_sampler) is BatchSampler and isinstance(
        loader.batch_sampler.sampler, SequentialSampler
    )


def loader_of_some(loader: DataLoader[Any], first: int, step: int) -> tuple[DataLoader[Any], int]:
    """The loader of every ``step``-th batch from number ``first`` on, for one whose order is that of its
    data; and how many samples a batch has."""
    batch_sampler: Any = loader.batch_sampler
    some = DataLoader(
        loader.dataset,
        batch_sampler=list(batch_sampler)[first::step],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )
    return some, int(batch_sampler.batch_size)
