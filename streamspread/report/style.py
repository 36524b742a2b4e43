"""How figures look: colours for the colour-blind, markers and dashes for greyscale, fonts per language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from streamspread.errors import MissingError


class Look(NamedTuple):
    """One curve's colour, marker and line style."""

    color: str
    marker: str
    dash: Any


#: Okabe and Ito's palette, in an order in which neighbours differ in lightness too.
_COLORS = ("#000000", "#009E73", "#56B4E9", "#D55E00", "#E69F00", "#7F7F7F", "#0072B2", "#CC79A7")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

#: Fonts that hold Japanese, on Linux, macOS and Windows.
JAPANESE = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexGothic",
    "IPAGothic",
    "TakaoPGothic",
    "VL Gothic",
    "Hiragino Sans",
    "Hiragino Maru Gothic Pro",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
)


def looks(count: int) -> list[Look]:
    """Looks for curves without an order, such as networks."""
    return [
        Look(_COLORS[i % len(_COLORS)], _MARKERS[i % len(_MARKERS)], _DASHES[i % len(_DASHES)])
        for i in range(count)
    ]


def ordered_looks(count: int) -> list[Look]:
    """Looks for curves in an order, such as layers: from dark to light, also in greyscale."""
    import matplotlib as mpl

    colors = mpl.colormaps["viridis"]
    steps = [
        0.8 * i / max(count - 1, 1) for i in range(count)
    ]  # beyond 0.8 the colours are too pale on white
    return [
        Look(mpl.colors.to_hex(colors(step)), _MARKERS[i % len(_MARKERS)], _DASHES[i % len(_DASHES)])
        for i, step in enumerate(steps)
    ]


def check(lang: str) -> None:
    """Refuse a language in which figures cannot be drawn here.

    Raises:
        MissingError: matplotlib, or a font for the language, is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingError(f"figures need matplotlib ({error}): pip install matplotlib") from error
    except ValueError as error:  # of MPLBACKEND
        said = " ".join(str(error).split())
        raise MissingError(f"matplotlib cannot begin ({said}): unset MPLBACKEND") from error
    _fonts(lang)


@contextmanager
def styled(lang: str) -> Iterator[None]:
    """Sets matplotlib up for these figures while the context lasts. No window is ever opened.

    Raises:
        MissingError: as :func:`check`.
    """
    check(lang)
    import matplotlib as mpl

    settings: dict[Any, Any] = {  # Any: newer versions of matplotlib type the keys as literals
        "font.family": _fonts(lang),
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.labelsize": 10,
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.unicode_minus": False,  # some Japanese fonts lack that sign
        "grid.color": "#d9d9d9",
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "lines.markersize": 5.5,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "figure.constrained_layout.use": True,
        "text.parse_math": False,  # a $ in a name is a $
        "svg.fonttype": "path",  # the same picture where the font is missing
        "svg.hashsalt": "streamspread",  # the same file every time
    }
    with mpl.rc_context(settings):
        yield


def _fonts(lang: str) -> list[str]:
    if lang != "ja":
        return ["DejaVu Sans", *_installed(JAPANESE)[:1]]  # names of classes and layers may be Japanese
    japanese = _installed(JAPANESE) or _installed(JAPANESE, rescan=True)
    if not japanese:
        raise MissingError(
            f"Japanese figures need a font such as {', '.join(JAPANESE[:3])}, and none is installed: "
            "apt install fonts-noto-cjk (Debian, Ubuntu), or use --lang en"
        )
    return [japanese[0], "DejaVu Sans"]


def _installed(names: Sequence[str], rescan: bool = False) -> list[str]:
    """The fonts that are installed; ``rescan``: also any installed after matplotlib cached its list."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    if rescan:
        known = {font.fname for font in manager.ttflist}
        for path in font_manager.findSystemFonts():
            if path not in known:
                with suppress(Exception):  # a broken font file is as good as none
                    manager.addfont(path)
    there = {font.name for font in manager.ttflist}
    return [name for name in names if name in there]
