"""Charts as files, and the scripts that draw them in a page: the only door to vl-convert, which needs no
browser."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from streamspread.errors import MissingError
from streamspread.reports import theme
from streamspread.reports.figure import Spec
from streamspread.system.text import printable

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_NO_XML = dict.fromkeys((0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}")  # beside control characters
_SCALE = 2.2  # pixels of a PNG for each of the description's
_FONT = "apt install fonts-noto-cjk (Debian, Ubuntu), or use --lang en"


def _library() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise MissingError(f"figures need vl-convert ({error}): pip install vl-convert-python") from error
    return vl_convert


def check(lang: str) -> None:
    """Refuse a language in which figures cannot be drawn here.

    Raises:
        MissingError: vl-convert, or a font for the language, is not installed.
    """
    if lang == "ja" and _picture("図") == _picture("層"):  # both are the box of a missing glyph
        raise MissingError(f"Japanese figures need a font with Japanese, and none is installed: {_FONT}")
    _library()


def svg(spec: Spec, dark: bool = False) -> str:
    """The chart as SVG, with its texts as text; ``dark``: for a dark ground. The same description gives the
    same text."""
    return str(_library().vegalite_to_svg(_whole(spec, dark)))


def png(drawn: str) -> bytes:
    """What :func:`svg` gave, as PNG."""
    return bytes(_library().svg_to_png(drawn, scale=_SCALE))


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script that reads nothing from anywhere, for within HTML."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", _library().javascript_bundle(), flags=re.IGNORECASE)


def _whole(spec: Spec, dark: bool) -> dict[str, Any]:
    config = theme.config(dark)
    if _JAPANESE.search(json.dumps(spec, ensure_ascii=False, default=str)):
        # Else its letters come from whichever font has them, one with serifs among them.
        config["font"] = f"{theme.JAPANESE}, {theme.FONT}, sans-serif"
    return {"$schema": SCHEMA, "config": config, **_drawable(spec)}


def _drawable(part: Any) -> Any:
    """A part of a description in which control characters are written out: no XML, so no SVG, can hold
    them, and vl-convert ends the process at the first."""
    if isinstance(part, str):
        return printable(part, keep="\n").translate(_NO_XML)
    if isinstance(part, Mapping):
        return {_drawable(name): _drawable(inside) for name, inside in part.items()}
    return [_drawable(one) for one in part] if isinstance(part, (list, tuple)) else part


def _picture(letter: str) -> bytes:
    return png(svg({"data": {"values": [{}]}, "mark": {"type": "text", "text": letter}}))
