"""Tables, figures and pages, which read results and never make them.

The room has the name of the function that makes a page, :func:`streamspread.report.pages.report`, and can be
called in its place: ``streamspread.report("no1.arrow")``.

Where things are:

* results read from files, and what runs have in common: ``runs``, ``data``, ``courses``
* how a number, a word or a colour is written: ``text``, ``naming``, ``labels`` (``labels_ja``), ``theme``
* what the terminal and notebooks show: ``tables``, ``columns``, ``choosing``, ``notebook``, ``plots``
* what other programs read: ``records``, ``frames``
* what the results say: ``finding``, ``claims``, ``limits``
* tables of the report: ``summary``, ``classes``, ``similarity``, those of the page's threshold in ``live``
* charts: a file for each in ``figures/``; their parts in ``marks``, their rows in ``rows`` and ``points``
* files: ``build`` calls ``page`` (``markup``, ``page_data``, ``assets/``), ``markdown``, ``pictures``
* spread over a training: ``over_training``, ``training_page``; the study's experiments: ``experiments/``
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
