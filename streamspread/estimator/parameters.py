"""What the estimator can be told: its parameters, stated once as fields, and what each may be."""

# No `from __future__ import annotations`: scikit-learn reads the parameters from the fields' signature.
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.utils import _param_validation as validation

from streamspread.estimator.running import METHODS

_SOLVERS = {"auto", "full", "covariance_eigh", "arpack", "randomized"}
_ANY_COUNT = validation.Interval(Integral, 0, None, closed="left")


@dataclass(eq=False, repr=False)
class Parameters:
    """The parameters of :class:`streamspread.PCA`, whose documentation says what they do."""

    n_components: int | float | str | None = None
    _: KW_ONLY
    copy: bool = True
    whiten: bool = False
    svd_solver: str = "auto"
    tol: float = 0.0
    iterated_power: int | str = "auto"
    n_oversamples: int = 10
    power_iteration_normalizer: str = "auto"
    random_state: Any = None
    memory: str | int | None = None
    device: str | torch.device = "auto"
    method: str = "auto"
    batch_size: int | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            _ANY_COUNT,
            validation.Interval(validation.RealNotInt, 0, 1, closed="neither"),
            validation.StrOptions({"mle"}),
            None,
        ],
        "copy": ["boolean"],
        "whiten": ["boolean"],
        "svd_solver": [validation.StrOptions(_SOLVERS)],
        "tol": [validation.Interval(Real, 0, None, closed="left")],
        "iterated_power": [_ANY_COUNT, validation.StrOptions({"auto"})],
        "n_oversamples": [validation.Interval(Integral, 1, None, closed="left")],
        "power_iteration_normalizer": [validation.StrOptions({"auto", "QR", "LU", "none"})],
        "random_state": ["random_state"],
        "method": [validation.StrOptions({"auto", *METHODS})],
        "batch_size": [validation.Interval(Integral, 1, None, closed="left"), None],
    }


Parameters.__init__.__qualname__ = "PCA.__init__"  # as errors call it
