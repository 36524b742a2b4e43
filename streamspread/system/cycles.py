"""When Python looks for cycles of objects that nothing else holds: not while libraries load.

What they load stays, and is a million objects, among which Python would look again and again as more come:
for a second of the start.
"""

from __future__ import annotations

import gc

_left = False


def left_alone() -> None:
    """Nothing is looked for until :func:`looked_for`."""
    global _left
    _left = True
    gc.disable()


def looked_for() -> None:
    """Look again, but not among what is there: objects come and go from here on. Without :func:`left_alone`
    nothing changes."""
    global _left
    if _left:
        _left = False
        gc.freeze()
        gc.enable()
