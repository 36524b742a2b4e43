"""Every option of an analysis, stated once: its default, what it does, how the command line writes it.

The arguments of ``analyze`` and ``plan`` and their documentation, the command line's options and their help,
the check of what was asked, and what a result keeps of it are all made from these classes. A new option is a
new field of one of them.
"""

from streamspread.options.analysis import METHODS, ROUNDINGS, EmbedOptions, Options, RunOptions, ViewOptions
from streamspread.options.fields import (
    Flag,
    Option,
    documented,
    option_of,
    read_layers,
    read_number,
    read_thresholds,
    split_names,
)

__all__ = [
    "METHODS",
    "ROUNDINGS",
    "EmbedOptions",
    "Flag",
    "Option",
    "Options",
    "RunOptions",
    "ViewOptions",
    "documented",
    "option_of",
    "read_layers",
    "read_number",
    "read_thresholds",
    "split_names",
]
