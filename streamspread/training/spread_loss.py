"""A term of the loss that spreads a layer's batch over more directions, or narrows it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from streamspread.errors import ActivationError, DataError, LayerError, OptionError
from streamspread.observe.network import check_not_copied
from streamspread.observe.taps import first_tensor, lies_channels_last, rows_of
from streamspread.training.spread_hooks import Hooks, in_backward
from streamspread.training.spread_measures import KINDS, Batch, CentredGram, Kind, participation

PREVIOUS = "previous"
FEWEST = 4  # samples of a batch: of fewer, pairs of different ones say too little
_MOST_FORWARDS = 64  # that wait for a call: more are of a loop that never calls, and hold its graphs
_KEPT = 0.9  # of the running mean of the layer before, at each step
_ROUNDED = 8  # units in the last place within which a layer's samples count as one and the same


class _Seen(NamedTuple):
    """A layer's batch: its inner products, Σ of its mean's squares, and what one's own function says."""

    batch: Batch
    mean_square: Tensor
    own: Tensor | None


class SpreadLoss:
    """A differentiable term on the batch of any layer of a network in training: ``loss = ce + spread()``.

    For each layer it is weight · max(0, log target − log PR), with PR the participation ratio (tr C)²/tr C²
    of the layer's batch, and tr C² taken from pairs of different samples only, so that it does not saturate
    at the batch's size. Nobody is promised accuracy.

    Related terms: DeCov (Cogswell et al. 2015, "Reducing overfitting in deep networks by decorrelating
    representations"), MCR² (Yu et al. 2020), VICReg (Bardes et al. 2022), and arXiv 2308.12880.

    Layers are seen in train mode where gradients are made, and nowhere else; a copy of the network, or one
    that was saved and loaded, has no term. Under autocast it is computed in float32 (float64 for float64).
    Under gradient checkpointing it needs ``use_reentrant=False``, since the other kind makes no gradients in
    the forward. Where a layer is called several times before ``spread()`` is, the mean over the calls counts.
    Each process of a distributed training takes its own batch. The gradient can be differentiated again.

    Args:
        model: whose layers are spread; the first axis of their outputs is that of samples.
        layers: names or globs such as ``c5`` and ``blocks.*``, or modules.
        target: "previous": the running participation ratio of the last convolution or linear layer that
            ended before this one began, on a batch and with gradients; detached. A number: of components.
            None: no bound; the ratio goes on rising.
        weight: of the term. A negative one narrows instead, down to the target.
        kind: a name in ``streamspread.training.spread_measures.KINDS``, or a function of the centred batch
            (B, D), float32 or float64, that gives the scalar that is to be raised. Where that is no number of
            components (coding-rate, vicreg, decov, one's own) a target is in its own units, also below 0.

    Raises:
        LayerError: a pattern that matches nothing, or a module of another network.
        OptionError: another argument outside its range, or a DataParallel on several devices.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | nn.Module | Sequence[str | nn.Module],
        target: str | float | None = PREVIOUS,
        weight: float = 0.1,
        kind: str | Callable[[Tensor], Tensor] = "participation",
    ) -> None:
        self._kind, self._own = _kind_or_own(kind)
        self._target, self.weight = check_target(target, self._kind), check_weight(weight)
        check_not_copied(model)
        self._hooks = Hooks(model, layers, self._see, follow=self._target == PREVIOUS)
        self.layers = tuple(self._hooks.layers)
        self._seen: dict[str, list[_Seen]] = {}
        self._running: dict[str, Tensor] = {}  # the measure of layers before
        self._latest: dict[str, Tensor] = {}  # log participation ratios
        self._facts = _Facts()

    def __call__(self, labels: Tensor | None = None) -> Tensor:
        """The term of the forwards since the last call: a scalar on the layers' device.

        Args:
            labels: int64 (B,), of the kind "within-classes" alone.

        Raises:
            ActivationError: a layer is the same for all samples (on a card this is said a step later).
            DataError: labels are missing, or not one for each sample.
            LayerError: a layer was not seen, or none ran before it.
        """
        seen, self._seen = self._seen, {}
        if missing := [name for name in self.layers if name not in seen]:
            raise LayerError(
                f"spread() was called and layer {missing[0]} was not seen: call it after a forward in train "
                "mode with gradients; checkpoint with use_reentrant=False, and compile after SpreadLoss"
            )
        self._hooks.settle()
        self._facts.heed({name: seen[name] for name in self.layers})
        values = {name: [self._measured(one, labels) for one in batches] for name, batches in seen.items()}
        for name in values.keys() & self._hooks.before.values():  # one that did not run keeps its measure
            self._follow(name, torch.stack(values[name]).detach().mean())
        self._latest = {name: participation(seen[name][-1].batch).detach() for name in self.layers}
        return torch.stack([self._term(name, torch.stack(values[name])) for name in self.layers]).sum()

    @property
    def participation(self) -> dict[str, float]:
        """The participation ratio of each layer's last batch, for logging; reading waits for the device."""
        return {name: float(value.exp()) for name, value in self._latest.items()}

    @property
    def targets(self) -> dict[str, float]:
        """The target of each layer at the last call, where there is one; to read it waits for the device."""
        if isinstance(self._target, float):
            return dict.fromkeys(self.layers, self._target)
        running = {name: self._running.get(self._hooks.before.get(name, "")) for name in self.layers}
        unit = torch.exp if self._kind.components else torch.clone
        return {name: float(unit(value)) for name, value in running.items() if value is not None}

    def state_dict(self) -> dict[str, Tensor]:
        """The running measures of the layers before, by name."""
        return {name: value.clone() for name, value in self._running.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from :meth:`state_dict`. OptionError: it is no such state."""
        whole = isinstance(state, Mapping) and all(
            isinstance(value, Tensor) and value.shape == () for value in state.values()
        )
        if not whole:
            raise OptionError("no state of a SpreadLoss: give what state_dict() gave")
        self._running = {name: value.clone() for name, value in state.items()}

    def close(self) -> None:
        """Takes the hooks off the network."""
        self._hooks.remove()
        self._seen = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy, or one in a file, waits for no call: what was seen belongs to a graph."""
        return {**self.__dict__, "_seen": {}, "_facts": _Facts()}

    def __enter__(self) -> SpreadLoss:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _see(self, name: str, module: nn.Module, output: Any) -> bool:
        """Keeps the inner products of a layer's batch; of one that only gives a target without gradients.
        Whether it has a batch that can be measured."""
        if not module.training or not torch.is_grad_enabled():
            return False
        x, chosen, again = first_tensor(output), name in self.layers, in_backward()
        if x is None or not x.is_floating_point() or x.ndim < 2:
            if chosen:
                raise LayerError(
                    f"layer {name} gives no batch of floating-point numbers: it cannot be spread"
                )
            return False
        if not chosen:
            if len(x) < FEWEST:
                return False
            if not again:
                with torch.no_grad():
                    self._keep(name, self._batch(x))
            return True
        if len(x) < FEWEST:
            raise ActivationError(
                f"layer {name} was given a batch of {len(x)}: spreading takes {FEWEST} samples or more"
            )
        if not x.requires_grad:
            raise ActivationError(
                f"layer {name} has no gradient, so it cannot be spread: nothing up to it is trained, or it "
                "was detached"
            )
        one = self._batch(x)
        if one.own is not None and not one.own.requires_grad:
            raise OptionError("the function given as kind gives a number without a gradient")
        if not again:  # a checkpointed part that runs again in backward does the same work, which is kept
            self._keep(name, one)
        return True

    def _keep(self, name: str, one: _Seen) -> None:
        kept = self._seen.setdefault(name, [])
        if len(kept) >= _MOST_FORWARDS:
            self._seen = {}
            raise LayerError(
                f"layer {name} ran {_MOST_FORWARDS} times and spread() was never called: add it to the loss, "
                "or close() it"
            )
        kept.append(one)

    def _batch(self, x: Tensor) -> _Seen:
        with _no_autocast(x):
            rows_BD = rows_of(x, lies_channels_last(x))
            gram, mean_square, x_BD, squares_D = CentredGram.apply(rows_BD, self._kind.features)
            own = None
            if self._own is not None:
                own = self._own(x_BD)
                if not isinstance(own, Tensor) or own.numel() != 1:
                    raise OptionError(
                        f"the function given as kind must give a scalar tensor, not {own!r:.80}"
                    )
                own = own.reshape(())
            return _Seen(Batch(gram, rows_BD.shape[1], squares_D), mean_square, own)

    def _measured(self, one: _Seen, labels: Tensor | None) -> Tensor:
        if one.own is not None:
            return one.own
        with _no_autocast(one.batch.gram):
            return self._kind.measure(_with_labels(one.batch, labels) if self._kind.labels else one.batch)

    def _follow(self, name: str, value: Tensor) -> None:
        """Moves a running mean, which a batch with NaN leaves as it was."""
        earlier = self._running.get(name)
        if earlier is None:
            self._running[name] = value
            return
        earlier = earlier.to(value)
        moved = torch.where(earlier.isfinite(), _KEPT * earlier + (1 - _KEPT) * value, value)
        self._running[name] = torch.where(value.isfinite(), moved, earlier)

    def _term(self, name: str, value_n: Tensor) -> Tensor:
        if self._target is None:
            return -self.weight * value_n.mean()
        lacking = self._aim(name, value_n) - value_n
        return abs(self.weight) * (lacking if self.weight > 0 else -lacking).relu().mean()

    def _aim(self, name: str, value: Tensor) -> Tensor | float:
        if isinstance(self._target, float):
            return math.log(self._target) if self._kind.components else self._target
        if name not in self._hooks.before:
            raise LayerError(
                f"no layer runs before {name}, whose spread could be its target (in train mode, with "
                "gradients, on a batch; checkpoint with use_reentrant=False): give a number or None"
            )
        aim = self._running[self._hooks.before[name]].to(value)
        return torch.where(aim.isfinite(), aim, value.detach())


class _Facts:
    """What is wrong with batches: NaN is said once, and a constant layer is refused.

    To read them at once would wait for a card at every step, so there they are copied aside and read at the
    next one.
    """

    def __init__(self) -> None:
        self._told = False
        self._waiting: tuple[list[str], Tensor, float, torch.cuda.Event] | None = None

    def heed(self, seen: Mapping[str, Sequence[_Seen]]) -> None:
        names = [name for name, batches in seen.items() for _ in batches]
        batches = [one for several in seen.values() for one in several]
        facts = torch.stack(
            [torch.stack([one.batch.gram.detach().diagonal().mean(), one.mean_square]) for one in batches]
        )
        rounding = _ROUNDED * torch.finfo(facts.dtype).eps
        if facts.device.type != "cuda":
            self._judge(names, facts, rounding)
            return
        waiting, aside = self._waiting, torch.empty(facts.shape, dtype=facts.dtype, pin_memory=True)
        aside.copy_(facts, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(facts.device))
        self._waiting = (names, aside, rounding, done)
        if waiting is not None:
            waiting[3].synchronize()
            self._judge(*waiting[:3])

    def _judge(self, names: Sequence[str], facts: Tensor, rounding: float) -> None:
        for name, (variance, mean_square) in zip(names, facts.tolist(), strict=True):
            if not math.isfinite(variance):
                if not self._told:
                    warnings.warn(
                        f"layer {name} has a batch with NaN or Inf, so the spreading term is none; said once",
                        RuntimeWarning,
                        stacklevel=4,
                    )
                self._told = True
            elif variance <= rounding**2 * mean_square:
                raise ActivationError(
                    f"layer {name} is the same for all samples of a batch: it cannot be spread"
                )


def check_target(target: str | float | None, kind: Kind) -> str | float | None:
    """The target as it is kept.

    Raises:
        OptionError: it is neither "previous", None nor a number; or one of components that is not above 0.
    """
    if target is None or (isinstance(target, str) and target == PREVIOUS):
        return target
    number = math.nan if isinstance(target, (str, bool)) or not isinstance(target, Real) else float(target)
    if math.isfinite(number) and (number > 0 or not kind.components):
        return number
    above = " above 0" * kind.components
    raise OptionError(
        f"the target of spreading must be {PREVIOUS!r}, none or a number{above}, not {target!r}"
    )


def check_weight(weight: float) -> float:
    """Raises OptionError for a weight that is no finite number."""
    if not isinstance(weight, Real) or isinstance(weight, bool) or not math.isfinite(weight):
        raise OptionError(f"the weight of spreading must be a finite number, not {weight!r}")
    return float(weight)


def kind_of(name: str) -> Kind:
    """One of KINDS. Raises OptionError for a name that is none of them."""
    if name not in KINDS:
        raise OptionError(f"the kind of spreading {name!r} is unknown: choose from {', '.join(KINDS)}")
    return KINDS[name]


def _kind_or_own(kind: str | Callable[[Tensor], Tensor]) -> tuple[Kind, Callable[[Tensor], Tensor] | None]:
    if isinstance(kind, str):
        return kind_of(kind), None
    if not callable(kind):
        raise OptionError(f"the kind of spreading must be a name or a function, not {kind!r}")
    return Kind(participation), kind


def _with_labels(batch: Batch, labels: Tensor | None) -> Batch:
    if labels is None:
        raise DataError("spreading within classes needs the batch's labels: spread(labels)")
    if not isinstance(labels, Tensor):
        raise DataError(f"labels must be a tensor, not a {type(labels).__name__}")
    if labels.shape != (len(batch.gram),):
        raise DataError(
            f"labels must be ({len(batch.gram)},), one for each sample, not {tuple(labels.shape)}"
        )
    sizes = labels.unique(return_counts=True)[1]  # for which a card waits
    if len(sizes) > 1 and int((sizes > 1).sum()) < 2:
        raise DataError(
            "spreading within classes takes a batch with two samples or more of each of two classes"
        )
    return replace(batch, labels=labels.to(batch.gram.device))


def _no_autocast(x: Tensor) -> AbstractContextManager[object]:
    return torch.autocast(x.device.type, enabled=False)
