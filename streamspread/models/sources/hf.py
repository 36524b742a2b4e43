"""``hf:NAME``: what transformers can build, from a folder, the hub's cache or the hub."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from streamspread.errors import MissingError, ModelError, StreamspreadError, WeightsError, kind_and_line
from streamspread.models.source import Built, ModelSource
from streamspread.streams.resize import Side

if TYPE_CHECKING:
    from torch import Tensor

    from streamspread.models.inputs import Constants

T = TypeVar("T")

_USUAL_SIZE = 224  # pixels, where neither the image processor nor the configuration says another
_BICUBIC = 3  # as Pillow numbers what images are scaled by
_TOKENS = 8  # of an example text
_NO_END = 10**9  # tokens: where texts may have any number
_AUDIO = 16_000  # samples of an example sound: a second of it


def _build(name: str, seed: int) -> Built:
    from streamspread.models.network import seeded

    def build() -> Built:
        config = _config(name)
        with seeded(seed):
            return _built(name, _class(config)._from_config(config))

    return _made(name, build)


def _published(name: str) -> Built:
    from streamspread.models.hub import cached_commit

    def build() -> Built:
        kind = _class(_config(name))
        what = f"weights of {name!r}"
        module, loading = _found(name, what, WeightsError, kind.from_pretrained, output_loading_info=True)
        commit = None if os.path.isdir(os.path.expanduser(name)) else cached_commit(name)
        note = {"published": f"{name} at {commit}" if commit else name}
        if missing := sorted(loading["missing_keys"]):
            note["random"] = ", ".join(missing)
        return _built(name, module, note)

    return _made(name, build)


def _made(name: str, build: Callable[[], T]) -> T:
    """What ``build`` makes, in silence; any failure of transformers as one line.

    Raises:
        MissingError: the library is not installed.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingError(
            f"hf:NAME models need transformers ({error}): pip install 'streamspread[hf]'"
        ) from error
    try:
        with _quiet():
            return build()
    except StreamspreadError:
        raise
    except Exception as error:  # of a configuration or of weights, transformers raises many kinds
        raise ModelError(f"transformers cannot build {name!r}: {kind_and_line(error)}") from error


def _config(name: str) -> Any:
    from transformers import AutoConfig

    return _found(name, f"model {name!r}", ModelError, AutoConfig.from_pretrained)


def _found(name: str, what: str, kind: type[StreamspreadError], load: Callable[..., T], **options: Any) -> T:
    """What ``load`` makes of a folder, or of what the hub has. No code that lies there is run.

    Raises:
        kind: it is not there.
    """
    from streamspread.models.hub import from_hub, numbers_alone

    folder = os.path.expanduser(name)
    options["trust_remote_code"] = False
    with numbers_alone():
        if os.path.isdir(folder):
            try:
                return load(folder, **options)
            except OSError as error:
                raise kind(f"{what}: not in the folder ({kind_and_line(error)})") from error
        return from_hub(lambda: load(name, **options), what, kind, name)


def _class(config: Any) -> Any:
    """The class of the model: AutoModel's, or where that knows none, the one that the configuration names.

    Raises:
        ModelError: neither.
    """
    import transformers

    kind: Any
    if type(config) in transformers.MODEL_MAPPING:
        kind = transformers.MODEL_MAPPING[type(config)]
        return kind[0] if isinstance(kind, (tuple, list)) else kind
    named = (getattr(config, "architectures", None) or [""])[0]
    kind = getattr(transformers, named, None) if named else None
    if kind is None:
        raise ModelError(f"transformers knows no model for the configuration {type(config).__name__}")
    return kind


def _built(name: str, module: Any, note: dict[str, str] | None = None) -> Built:
    from streamspread.models.inputs import IMAGENET_MEAN, IMAGENET_STD

    takes = str(module.main_input_name)
    if takes != "pixel_values":
        return Built(
            module=module,
            mean=(),
            std=(),
            image_size=Side(0),
            takes=takes,
            example=_example(takes, module),
            tokenizer=_Tokenizer(name, module) if takes == "input_ids" else None,
            note=note,
        )
    processor = _processor(name)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if processor is None else _constants(processor)
    usual = _size(getattr(module.config, "image_size", 0)) or (_USUAL_SIZE, _USUAL_SIZE)
    return Built(
        module=module,
        mean=mean,
        std=std,
        image_size=Side(usual[1], height=usual[0]) if processor is None else _brought(processor, usual),
        note=note,
    )


class _Tokenizer:
    """A model's own tokenizer, which is loaded when the first texts come. Of texts that are longer than the
    model takes, what is beyond that is cut off. A decoder that must be given tokens is given those of the
    text, one place later, as in training on the text itself (and as BART's takes them where it has none).

    Raises:
        ModelError: there is none with the model.
    """

    def __init__(self, name: str, module: Any) -> None:
        self._name, self._most = name, getattr(module.config, "max_position_embeddings", None) or _NO_END
        self._start = _decoder_start(module)
        self._loaded: Any = None

    def __call__(self, texts: Sequence[str]) -> Mapping[str, Any]:
        if self._loaded is None:
            self._loaded = _made(self._name, self._load)
        most = min(self._most, self._loaded.model_max_length)
        with _quiet():
            found = self._loaded(
                list(texts),
                truncation=most < _NO_END,
                max_length=most if most < _NO_END else None,
                return_attention_mask=True,
            )
        named = dict(found)
        if self._start is not None:
            named["decoder_input_ids"] = [[self._start, *tokens[:-1]] for tokens in named["input_ids"]]
        return named

    def _load(self) -> Any:
        from transformers import AutoTokenizer

        what = f"the tokenizer of {self._name!r}"
        found = _found(self._name, what, ModelError, AutoTokenizer.from_pretrained)
        # transformers makes one that knows no word.
        if set(found.get_vocab()) <= set(found.all_special_tokens):
            raise ModelError(f"{what}: no vocabulary lies with the model")
        return found


def _decoder_start(module: Any) -> int | None:
    """The token that a decoder begins with which must be given its tokens, as T5's; None for other models."""
    import torch

    shifted = getattr(module, "_shift_right", None)  # by which such models make them of what is to be written
    if shifted is None:
        return None
    try:
        return int(shifted(torch.zeros(1, 1, dtype=torch.int64)))
    except (AttributeError, ValueError):  # the configuration does not say it: "usually the pad_token_id"
        return int(module.config.pad_token_id or 0)


def _processor(name: str) -> Any:
    """The model's image processor; None where none lies with it."""
    from transformers import AutoImageProcessor

    try:
        return _found(name, "the image processor", ModelError, AutoImageProcessor.from_pretrained)
    except ModelError:
        return None


def _constants(processor: Any) -> tuple[Constants, Constants]:
    """Mean and deviation of x/255 that do what the processor does: (x·factor − mean)/deviation."""
    factor = processor.rescale_factor if getattr(processor, "do_rescale", True) else 1.0
    normalizes = getattr(processor, "do_normalize", True) and processor.image_mean is not None
    mean = tuple(processor.image_mean) if normalizes else (0.0,) * 3
    std = tuple(processor.image_std) if normalizes else (1.0,) * 3
    unit = 255 * factor
    return tuple(value / unit for value in mean), tuple(value / unit for value in std)


def _brought(processor: Any, usual: tuple[int, int]) -> Side:
    """The size of the images that the processor makes, ``usual`` where it leaves their size, and how it does
    that: where it has a height and a width, both are scaled."""
    resample = getattr(processor, "resample", None)
    mode = "bicubic" if resample is not None and int(resample) == _BICUBIC else "bilinear"
    scaled = processor.size if getattr(processor, "do_resize", True) else {}
    crop = "squash" if hasattr(scaled, "get") and scaled.get("height") else "center"
    cut = processor.crop_size if getattr(processor, "do_center_crop", False) else {}
    height, width = _size(cut) or _size(scaled) or usual
    return Side(width, (_size(scaled) or (0, 0))[1], mode, crop, height=height)


def _size(size: Any) -> tuple[int, int] | None:
    """Height and width of {height, width}, {shortest_edge}, a pair or a number; None where there is none."""
    if hasattr(size, "get"):
        edge = size.get("shortest_edge") or 0
        size = (size.get("height") or edge, size.get("width") or size.get("height") or edge)
    height, width = (*size, size[0])[:2] if isinstance(size, (tuple, list)) and size else (size, size)
    return (int(height), int(width)) if height and width else None


def _example(takes: str, module: Any) -> Tensor | dict[str, Tensor] | None:
    """Two samples of what a model takes that is not made for images, by name where it takes more than one
    thing, as an encoder with a decoder, or texts with images; None where that is not known."""
    import torch

    config = module.config
    if takes == "input_values":
        return torch.linspace(-1, 1, 2 * _AUDIO).reshape(2, _AUDIO)
    if takes != "input_ids":
        return None
    vocabulary = config.get_text_config().vocab_size
    tokens = (torch.arange(2 * _TOKENS).reshape(2, _TOKENS) % vocabulary).to(torch.int64)
    named, parameters = {takes: tokens}, inspect.signature(module.forward).parameters
    if "decoder_input_ids" in parameters:
        named["decoder_input_ids"] = tokens
    if "pixel_values" in parameters and hasattr(config, "vision_config"):
        size = _size(getattr(config.vision_config, "image_size", 0)) or (_USUAL_SIZE, _USUAL_SIZE)
        named["pixel_values"] = torch.zeros(2, 3, *size)
    return named if len(named) > 1 else tokens


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what transformers says of weights that it does not find, which the result says too."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


SOURCE = ModelSource(
    form="hf:NAME",
    about="a model of transformers: a folder, or a name at the hub such as google/vit-base-patch16-224",
    build=_build,
    published=_published,
)
