"""The options of an analysis, of an embedding, and of every run of data through a network."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from streamspread.errors import OptionError, check_flag, check_seed, check_whole
from streamspread.options.fields import (
    Flag,
    Option,
    documented,
    read_layers,
    read_number,
    read_thresholds,
    split_names,
)
from streamspread.system.registry import Registry
from streamspread.system.text import listed

if TYPE_CHECKING:
    import torch


#: The ways to sum a layer, a file each. Whoever adds one adds a name that ``method`` takes.
METHODS: Registry[Any] = Registry("streamspread.accumulators.methods", "METHOD")

#: The parts of the help beside "Method".
QUESTION, MACHINE = "What is asked", "Machine"

ROUNDINGS = ("auto", "fp16", "bf16", "fp32", "fp64", "int16")


# Options that other classes have too.
Memory = Annotated[
    str | int | None,
    Option(
        "Most memory to use, such as 8GiB.",
        Flag(metavar="SIZE", unset="most of what is free", panel=MACHINE),
    ),
]
Device = Annotated[
    Union[str, "torch.device"],
    Option(
        "Where to compute; auto takes a GPU where PyTorch and CuPy can use one.",
        Flag(metavar="auto|cpu|cuda:0", panel=MACHINE),
    ),
]
Seed = Annotated[
    int,
    Option(
        "Seed for drawing samples, for random weights, and for where a search for directions starts.",
        Flag(metavar="N", panel="Network and data"),
    ),
]
Thresholds = Annotated[
    Sequence[float],
    Option(
        "Fractions of the variance, in (0, 1].",
        Flag(("--thresholds", "-t"), "τ,…", read=read_thresholds, panel=QUESTION),
    ),
]
Proof = Annotated[
    bool,
    Option(
        "Whether a costly proof may be made where K would stay an interval otherwise.",
        Flag(("--no-proof",), off=True, help="Skip costly proofs: faster, wider intervals."),
    ),
]


@dataclass(frozen=True)
class RunOptions:
    """What every run of data through a network can be told.

    Raises:
        OptionError, BudgetError: one of them is out of range.
    """

    layers: Annotated[
        Union[str, "torch.nn.Module", Sequence[Union[str, "torch.nn.Module"]]],
        Option(
            "Layers by name, such as c1,c2.* (see [bold]streamspread layers[/bold]), or modules.",
            Flag(
                ("--layers", "-l"),
                "all|GLOB,…",
                "Network and data",
                read=read_layers,
                help="Layers by name, such as c1,c2.* (see [bold]streamspread layers[/bold]).",
            ),
        ),
    ] = "all"
    _: KW_ONLY
    memory: Memory = None
    device: Device = "auto"
    batch_size: Annotated[
        int | None,
        Option("Samples per forward pass.", Flag(metavar="N", least=1, unset="chosen", panel=MACHINE)),
    ] = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        for one in documented(type(self)):
            value = getattr(self, one.name)
            if get_args(one.type)[0] is bool and not isinstance(value, bool):
                check_flag(one.name, value)
        if self.batch_size is not None:
            check_whole("batch size", self.batch_size)
        check_seed(self.seed)
        if self.memory is not None:
            from streamspread.system.memory import parse_bytes

            parse_bytes(self.memory)

    def asked(self) -> dict[str, Any]:
        """All options as they were given, for the provenance; JSON holds them."""
        return {one.name: _plain(getattr(self, one.name)) for one in documented(type(self))}


@dataclass(frozen=True)
class ViewOptions(RunOptions):
    """What a run can be told of which samples are parts of a layer's output.

    Raises:
        OptionError, BudgetError: one of them is out of range.
    """

    _: KW_ONLY
    view: Annotated[
        str | Sequence[str],
        Option(
            "What of a layer's output is a sample: whole (all of an image or text), position (each place of "
            "a feature map, or each token), pooled (the mean over them) or pooled-max (the largest); several "
            "at once in the same passes, as whole,position.",
            Flag(metavar="VIEW,…", read=split_names, panel=QUESTION),
        ),
    ] = "whole"
    axes: Annotated[
        str | Mapping[str, str] | None,
        Option(
            "How axes of outputs are read: N for samples, C for features, another letter for each axis of "
            "places, as NCHW, for all outputs with so many axes, or for some layers, as 'blocks.*=TNC'.",
            Flag(metavar="[GLOB=]AXES,…", unset="as the modules' types tell", panel=QUESTION),
        ),
    ] = None

    def __post_init__(self) -> None:
        from streamspread.results.views import check_axes, check_views

        object.__setattr__(self, "view", check_views(self.view))
        object.__setattr__(self, "axes", check_axes(self.axes))
        super().__post_init__()


@dataclass(frozen=True)
class Options(ViewOptions):
    """What an analysis can be told.

    Raises:
        OptionError, BudgetError: one of them is out of range.
    """

    thresholds: Thresholds = (0.7,)
    _: KW_ONLY
    method: Annotated[
        str,
        Option(
            lambda: (
                f"{listed(METHODS.names())}; auto takes an exact one, unless none fits or, on a CPU, a "
                "sketch has less than half the work, or its quick form, which closes K, less than 0.8 of it."
            ),
            Flag(metavar="NAME", choices=lambda: ("auto", *METHODS.names())),
        ),
    ] = "auto"
    rounding: Annotated[
        str,
        Option(
            "fp16, bf16, fp32, fp64 or int16, whose sums are exact: to what centred activations are rounded, "
            "once, before they are summed; auto is fp16 on a GPU, on a CPU int16 where that is faster and "
            "moves the data by less than 1e-6 of T, else fp32.",
            Flag(metavar="NAME", choices=lambda: ROUNDINGS),
        ),
    ] = "auto"
    rank: Annotated[
        str | int,
        Option(
            "Directions that a sketch keeps; with a number it does not take its quick form.",
            Flag(metavar="auto|L", read=read_number),
        ),
    ] = "auto"
    width: Annotated[
        int,
        Option(
            "A sketch reads the data again until high − low is at most this, or --max-passes is reached.",
            Flag(metavar="N", least=0),
        ),
    ] = 0
    max_passes: Annotated[
        int,
        Option(
            "How often a sketch may read the data at the most; a layer whose K its quick form leaves open is "
            "then summed again.",
            Flag(metavar="N", least=1),
        ),
    ] = 3
    proof: Proof = True
    all_eigenvalues: Annotated[
        bool,
        Option(
            "Find all, not only what the thresholds need: for the whole spectrum and the effective rank.",
            Flag(("--all-eigenvalues",), panel=QUESTION),
        ),
    ] = False
    directions: Annotated[
        int | None,
        Option(
            "How many leading eigenvectors of each layer are kept with the result, or all where a layer has "
            "fewer; each is as many float32 numbers as the layer has.",
            Flag(metavar="K", least=1, unset="none", panel=QUESTION),
        ),
    ] = None
    scores: Annotated[
        bool,
        Option(
            "Whether each sample's place on those directions is kept too, for which the data may be read "
            "once more.",
            Flag(("--scores",), panel=QUESTION),
        ),
    ] = False
    classes: Annotated[
        bool,
        Option(
            "Whether to say what the data's labels tell of a layer: the share of its variance between "
            "classes, K within them and of each, and NC1.",
            Flag(("--classes",), panel=QUESTION),
        ),
    ] = False
    with_random: Annotated[
        bool,
        Option(
            "Analyse the same network with fresh weights too, beside which what training did can be seen.",
            Flag(("--with-random",), panel=QUESTION),
        ),
    ] = False
    estimate: Annotated[
        bool,
        Option(
            "Whether K of more samples than were seen is estimated from parts of them; nothing that is "
            "proved depends on it.",
            Flag(
                ("--no-estimate",),
                off=True,
                help="Estimate no K beyond the samples that were seen.",
                panel=QUESTION,
            ),
        ),
    ] = True

    checkpoint: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "A file that keeps the run while it lasts; another with the same arguments goes on from there.",
            Flag(metavar="FILE", unset="none", panel=MACHINE),
        ),
    ] = None

    def __post_init__(self) -> None:
        from streamspread.results.spectrum import check_thresholds

        if self.checkpoint is not None and not isinstance(self.checkpoint, (str, os.PathLike)):
            raise OptionError(f"checkpoint is the name of a file, not {self.checkpoint!r}")
        object.__setattr__(self, "thresholds", check_thresholds(self.thresholds))
        for what, name, known in (
            ("method", self.method, ("auto", *METHODS.names())),
            ("rounding", self.rounding, ROUNDINGS),
        ):
            if name not in known:
                raise OptionError(f"{what} {name!r} is unknown: choose from {', '.join(known)}")
        if self.rank != "auto" and (not isinstance(self.rank, Integral) or self.rank < 1):
            raise OptionError(f"rank {self.rank!r} is neither auto nor a positive number")
        check_whole("max passes", self.max_passes)
        check_whole("width", self.width, 0)
        if self.directions is not None:
            check_whole("directions", self.directions)
        if self.scores and self.directions is None:
            raise OptionError("scores asked for, and no directions to have them on: give --directions too")
        super().__post_init__()


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bool, float)) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    return list(value) if isinstance(value, (tuple, list)) else str(value)


@dataclass(frozen=True)
class EmbedOptions(RunOptions):
    """What an embedding can be told.

    Raises:
        OptionError, BudgetError: one of them is out of range.
    """

    _: KW_ONLY
    axes: Annotated[
        int,
        Option(
            "Leading principal components that t-SNE sees.",
            Flag(("--components",), metavar="K", panel=QUESTION),
        ),
    ] = 50
    perplexity: Annotated[
        float, Option("About how many neighbours count for a point.", Flag(metavar="X", panel=QUESTION))
    ] = 30.0

    def __post_init__(self) -> None:
        if not isinstance(self.axes, Integral) or self.axes < 2:
            raise OptionError(f"{self.axes} principal components asked for; a plane needs 2 or more")
        super().__post_init__()
