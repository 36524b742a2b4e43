"""From the text that the command line was given to an option's value."""

from __future__ import annotations

from streamspread.errors import OptionError


def split_names(text: str) -> list[str]:
    """Comma-separated texts without surrounding spaces or empty ones."""
    return [name for part in text.split(",") if (name := part.strip())]


def read_layers(text: str) -> str | list[str]:
    """``all`` as it is, else the comma-separated globs; OptionError for none."""
    names = split_names(text)
    if not names:
        raise OptionError("no layer given: --layers takes all, or names and globs such as c1,c2.*")
    return "all" if names == ["all"] else names


def read_thresholds(text: str) -> tuple[float, ...]:
    """``0.7,0.9`` as numbers; OptionError outside (0, 1]."""
    from streamspread.results.spectrum import check_thresholds

    return check_thresholds(split_names(text))


def read_number(text: str) -> str | int:
    """A whole number as such, any other text as it is: the option's own check says which are wrong."""
    try:
        return int(text)
    except ValueError:
        return text
