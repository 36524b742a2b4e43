"""Tables, figures and pages, which read results and never make them.

The room has the name of the function that makes a page, :func:`streamspread.report.pages.report`, and can be
called in its place: ``streamspread.report("no1.arrow")``.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """Python puts a package into its parent under its own name, and so over a function of that name."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        from streamspread.report.pages import report

        return report(*given, **named)


sys.modules[__name__].__class__ = _Callable
