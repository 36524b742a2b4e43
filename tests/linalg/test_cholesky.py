"""The factorisation in the panels: its factor, what it refuses, and that it uses them up."""

import pytest
import torch

from streamspread.errors import OptionError
from streamspread.linalg.cholesky import factor_product, is_positive_definite_
from tests.devices import CPU, DEVICES
from tests.matrices import packed

SHAPES = [(1, 4), (7, 3), (64, 64), (65, 64), (300, 70)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "rows"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cholesky_in_place_gives_the_factor_or_refuses(device, n, rows, dtype):
    panels, dense = packed(n, rows, device, dtype, low_rank=True)
    assert is_positive_definite_(panels)
    factor = torch.zeros(n, n, dtype=torch.float64)
    for begin, panel in zip(range(0, n, rows), panels.panels, strict=True):
        factor[begin : begin + panel.shape[0], : panel.shape[1]] = panel
    factor.tril_()
    torch.testing.assert_close(factor @ factor.T, dense, rtol=1e-4, atol=1e-4 * float(dense.abs().max()))
    panels, dense = packed(n, rows, device, dtype, low_rank=True)
    smallest = float(torch.linalg.eigvalsh(dense)[0])
    panels.add_low_rank(
        torch.eye(n, dtype=torch.float64, device=device),
        torch.eye(n, dtype=torch.float64, device=device) * -(smallest + 0.01 * float(dense.trace()) / n),
    )
    assert not is_positive_definite_(panels)


USES = {
    "read": lambda panels: panels.dense(torch.float64),
    "multiply by a block": lambda panels: panels.matmul(torch.ones(90, 1, dtype=torch.float64)),
    "quotients": lambda panels: panels.quotients(torch.ones(90, 1, dtype=torch.float64)),
    "squared norm": lambda panels: panels.squared_norm(),
    "row sums": lambda panels: panels.row_sums(),
    "trace": lambda panels: panels.trace(),
    "add rows": lambda panels: panels.add_outer(torch.ones(90, 1, dtype=torch.float64)),
    "add panels": lambda panels: panels.add(packed(90, 40)[0], 1.0),
    "be added": lambda panels: packed(90, 40)[0].add(panels, 1.0),
    "rescale": lambda panels: panels.multiply_(0.5),
    "factor again": lambda panels: is_positive_definite_(panels),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("positive", [True, False])
def test_panels_are_of_no_use_after_a_factorisation(use, positive):
    panels, _ = packed(90, 40, low_rank=True)
    if not positive:
        panels.multiply_(-1.0)
    assert is_positive_definite_(panels) == positive
    with pytest.raises(OptionError, match="these sums were used up by an eigenvalue step"):
        use(panels)


def test_the_product_with_the_factor_is_the_one_with_the_matrix():
    panels, dense = packed(300, 70, CPU, torch.float64, low_rank=True)
    assert is_positive_definite_(panels)
    q_NL = torch.randn(300, 3, dtype=torch.float64)
    torch.testing.assert_close(factor_product(panels, q_NL), dense @ q_NL)
