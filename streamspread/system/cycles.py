"""When Python looks for cycles of objects that nothing else holds: not while libraries load.

What they load stays, and is a million objects, among which Python would look again and again as more come: for
a second or more of the start.
"""

from __future__ import annotations

import gc


def left_alone() -> None:
    """Nothing is looked for from here on."""
    gc.disable()


def looked_for() -> None:
    """Look again, but not among what is there; where nobody had switched it off nothing changes."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
