"""What passes of a subspace iteration prove, against a dense decomposition in float64."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.errors import OptionError
from streamspread.kernels.formats import INT16_LIMIT
from streamspread.linalg.integer_rows import SPREAD, in_integers, leading_rows
from streamspread.linalg.iteration import MOST_PASSES, PRODUCT_SPREAD, VECTORS, Iteration
from streamspread.linalg.products import summation_error
from streamspread.results.bounds import SketchFacts, enclose
from tests.samples import ORDERS, spread
from tests.variances import DRAWN, variances

REACH = INT16_LIMIT


def whole(x):
    return x.round().clamp(-REACH, REACH).short()


def integers(name="power law", count=200, dim=60, seed=0, size=500.0, order="as drawn"):
    rng = np.random.default_rng(seed)
    x = spread(variances(name, dim, rng), count, rng, order=order)
    return whole(x * (size / max(float(x.square().mean().sqrt()), 1e-300)))


class Dense:
    """The truth about samples: their scatter's eigenvalues, descending, and directions."""

    def __init__(self, x_ND):
        x = x_ND.double()
        self.mean_D = x.mean(0)
        self.centred = (x - self.mean_D).numpy()
        self.total = float(np.square(self.centred).sum())
        values = np.linalg.svd(self.centred, compute_uv=False) ** 2
        self.values_D = np.append(values, np.zeros(x.shape[1]))[: x.shape[1]]
        self.directions_DD = np.linalg.svd(self.centred)[2]

    def beyond(self, q_LD):
        """The largest eigenvalue outside the span of rows, and the eigenvalues of RᵀR of their residuals."""
        basis = np.linalg.qr(q_LD.double().numpy().T)[0]
        left = self.centred - (self.centred @ basis) @ basis.T
        residual = left.T @ (self.centred @ basis)
        squares = np.linalg.svd(residual, compute_uv=False) ** 2
        return np.linalg.svd(left, compute_uv=False)[0] ** 2, squares


def rows_as_integers(rows):
    rows = torch.from_numpy(np.ascontiguousarray(rows))
    return in_integers(lambda: iter([(0, rows.shape[1], rows.clone())]), *rows.shape)[0]


#: Bases of so many rows to begin with; all but the first are bad ones.
BASES = {
    "first samples": lambda x, truth, size, rng: leading_rows(x[: max(2, len(x) // 5)], 0.3, size),
    "random": lambda x, truth, size, rng: torch.from_numpy(
        rng.integers(-2000, 2001, (size, x.shape[1]))
    ).short(),
    "small numbers": lambda x, truth, size, rng: torch.from_numpy(
        rng.integers(-3, 4, (size, x.shape[1]))
    ).short(),
    "without the leading one": lambda x, truth, size, rng: rows_as_integers(
        truth.directions_DD[1 : size + 1]
    ),
    "the smallest": lambda x, truth, size, rng: rows_as_integers(truth.directions_DD[-size:]),
}


def turned_away(x, rng):
    """First samples of another distribution, in few directions, than the rest."""
    first = max(2, len(x) // 5)
    few = rng.normal(size=(first, 2)) @ rng.normal(size=(2, x.shape[1])) * 400
    return torch.cat([whole(torch.from_numpy(few)), x[first:]])


def shifted(x, rng):
    """The mean is far off after the first sample."""
    far = torch.from_numpy(rng.integers(-20_000, 20_001, x.shape[1]))
    return torch.cat([x[:1], (x[1:].int() + far).clamp(-REACH, REACH).short()])


def spiked(x, rng):
    x = x.clone()
    x[torch.from_numpy(rng.random(x.shape) < 0.01)] = REACH
    return x


DATA = {
    "as they are": lambda x, rng: x,
    "other first ones": turned_away,
    "far off": shifted,
    "spikes": spiked,
    "clipped": lambda x, rng: whole(x.float() * 60),
}


def passes(x, q_LD, count, batch=97, truth=None):
    """(the pass, what it proves) of each pass over x."""
    truth = truth or Dense(x)
    one = Iteration(q_LD)
    for number in range(count):
        for part in x.split(batch):
            one.add(part)
        solved = one.solve(truth.mean_D, truth.total)
        yield one, solved
        if number + 1 < count:
            one = one.advance(solved, truth.mean_D)


def check_proved(one, solved, truth, samples):
    """All that a pass proves, which fails with a probability of 1e-6: never."""
    facts, total = solved.facts, truth.total
    # Of this test's own values, and of float64 where rows nearly depend on each other, as random ones may.
    rounding = (1e-13 + 1e-15 * np.linalg.cond(one.q_RD[: one.size].double().numpy()) ** 2) * total
    assert facts.error <= 1e-11 * (total + samples * float(truth.mean_D.square().sum()))
    values = truth.values_D[: len(facts.ritz_K)]
    assert np.all(facts.ritz_K <= values + facts.error + rounding)
    outside, squares = truth.beyond(one.q_RD[: one.size])
    assert facts.missed >= outside - rounding
    assert facts.missed <= total
    bounds = np.linalg.eigvalsh(facts.residual_KK)[::-1][: len(squares)]
    assert np.all(bounds >= squares[: len(bounds)] - rounding * total)
    none = SketchFacts(np.zeros(0), total, 0.0, 0.0, total, 0.0)
    found = enclose(none, facts, min(len(values), samples - 1, truth.centred.shape[1]) or 1, 0.9)
    sums = np.cumsum(truth.values_D)
    assert np.all(found.upper_sums >= sums[: len(found.upper_sums)] * (1 - 1e-12) - rounding)
    assert np.all(np.cumsum(found.lower_K) <= sums[: len(found.lower_K)] * (1 + 1e-12) + rounding)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(DRAWN),
    order=st.sampled_from(sorted(ORDERS)),
    data=st.sampled_from(sorted(DATA)),
    basis=st.sampled_from(sorted(BASES)),
    count=st.integers(2, 200),
    dim=st.integers(2, 70),
    size=st.integers(1, 40),
    rms=st.sampled_from([3.0, 50.0, 500.0]),
    times=st.sampled_from([1, 2, 2, 3, MOST_PASSES]),
    seed=st.integers(0, 2**32 - 1),
)
def test_bounds_hold_in_every_pass(name, order, data, basis, count, dim, size, rms, times, seed):
    rng = np.random.default_rng(seed)
    x = DATA[data](integers(name, count, dim, seed, rms, order), rng)
    truth = Dense(x)
    if truth.total <= 0.0:
        return
    begun = BASES[basis](x, truth, min(size, dim - 1), rng)
    if begun is None:
        return
    # Of bases that do not suit the data what C makes may be dependent, in integers.
    dependent = () if basis == "first samples" else (torch.linalg.LinAlgError,)
    with suppress(*dependent):
        for one, solved in passes(x, begun, times, truth=truth):
            check_proved(one, solved, truth, count)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_whatever_the_units_of_products(monkeypatch, seed):
    """Some products all become 0, others their signs: so a leading direction is lost on the way."""
    usual, rng = Iteration._units, np.random.default_rng(seed)

    def units(self, x_ND, p_NR):
        factors = np.ones(len(self.unit_R))
        factors[: self.size] = rng.choice([1e-9, 1.0, 1.0, 1e9], self.size)
        return (usual(self, x_ND, p_NR) * torch.from_numpy(factors)).round_().clamp_(min=1.0)

    monkeypatch.setattr(Iteration, "_units", units)
    x = integers(DRAWN[seed % len(DRAWN)], 150, 40, seed)
    truth = Dense(x)
    basis = rows_as_integers(truth.directions_DD[: int(rng.integers(1, 20))])
    with suppress(torch.linalg.LinAlgError):  # where all of them become 0
        for one, solved in passes(x, basis, 4, truth=truth):
            check_proved(one, solved, truth, len(x))


@pytest.mark.parametrize("first", [0, 20, 31])
def test_a_basis_that_misses_much_is_found_out(first):
    """The leading direction; or all but first samples, that it holds wholly and that tell nothing."""
    x = integers("harmonic", 600, 80)
    truth = Dense(x)
    rows = np.linalg.svd(x[:first].double().numpy(), full_matrices=False)[2] if first else None
    one = Iteration(
        BASES["without the leading one"](x, truth, 30, None) if rows is None else rows_as_integers(rows)
    )
    for part in x.split([first, 600 - first] if first else 97):
        one.add(part)
    outside, _ = truth.beyond(one.q_RD[: one.size])
    assert first or outside > 0.9 * truth.values_D[0]
    assert outside <= one.solve(truth.mean_D, truth.total).facts.missed <= (8.0 if first else 5.0) * outside


def test_passes_turn_a_random_basis_to_the_leading_directions():
    x = integers("harmonic", 600, 80)
    truth = Dense(x)
    rng = np.random.default_rng(0)
    begun = BASES["random"](x, truth, 30, rng)
    held = [float(solved.facts.ritz_K[:10].sum()) for _, solved in passes(x, begun, 5, truth=truth)]
    most = truth.values_D[:10].sum()
    assert held[0] < 0.9 * most
    assert sorted(held) == held
    assert held[-1] >= 0.999 * most


@pytest.mark.parametrize("later", [1.0, 100.0], ids=["alike", "larger"])
def test_sums_of_integers_are_exact(later):
    """Of products that the unit of the first samples suits, and of some that it does not hold."""
    x = integers("power law", 150, 40, size=200.0)
    x = torch.cat([x[:64], whole(x[64:].double() * later)])
    one = Iteration(BASES["random"](x, None, 12, np.random.default_rng(1)))
    for part in x.split(64):
        one.add(part)
    products = (x.long() @ one.q_RD.long().T).double()
    p = torch.cat([products[:, :12], products[:, 12:-VECTORS] + products[:, -VECTORS:] / 2**15], dim=1)
    p -= p[:64].mean(0).round()
    unit = (p[:64].square().mean(0).sqrt() / PRODUCT_SPREAD).round().clamp(min=1.0)
    unit[12:] = (2 * SPREAD * (40 * x[:64].double().square().sum() / 64).sqrt() / REACH).round()
    torch.testing.assert_close(one.unit_R, unit, rtol=0.0, atol=0.0)
    rounded = (p / unit).round().clamp(-REACH, REACH)
    lost = p - rounded * unit
    fine = (lost[:, 12:] / (unit[12:] / 2**15)).round().clamp(-REACH, REACH)
    lost[:, 12:] -= fine * (unit[12:] / 2**15)
    assert (float(lost[:, :12].abs().max()) > 1e6) == (later > 1.0)
    assert torch.equal(one.y_RD, (torch.cat([rounded, fine], dim=1).long().T @ x.long()).double())
    torch.testing.assert_close(one.sum_R, p.sum(0), rtol=1e-12, atol=1e-3)
    torch.testing.assert_close(one.lost_R, lost.sum(0), rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(one.lost_RR.tril(), (lost.T @ lost).tril(), rtol=1e-9, atol=1e-3)
    torch.testing.assert_close(one.h_LL.tril(), (p.T @ p)[:12, :12].tril(), rtol=1e-12, atol=1e-3)
    assert one.count == 150


@pytest.mark.parametrize("taken", [1, 2])
def test_a_state_goes_on_to_the_same_bits(taken):
    """Taken within the first pass and at its end."""
    x = integers("harmonic", 240, 50)
    truth = Dense(x)
    one = other = Iteration(leading_rows(x[:60], 0.3, 40))
    for at, part in enumerate([*x.split(120), *x.split(120)]):
        if at == 2:
            one, other = (
                each.advance(each.solve(truth.mean_D, truth.total), truth.mean_D)
                for each in (one, Iteration.loaded(one.state()))
            )
        if at == taken:
            state = {name: tensor.clone() for name, tensor in one.state().items()}
            other = Iteration.loaded(state)
            for tensor in state.values():  # it is copied
                tensor.zero_()
        for each in {id(one): one, id(other): other}.values():
            each.add(part)
    assert one is not other
    state = one.state()
    with pytest.raises(OptionError, match="this state does not fit: 'y_RD' should be"):
        Iteration.loaded({**state, "y_RD": state["y_RD"][:, :-1]})
    for name, tensor in one.state().items():
        assert torch.equal(tensor, other.state()[name]), name
    ends = [each.solve(truth.mean_D, truth.total) for each in (one, other)]
    for name, value in vars(ends[0].facts).items():
        np.testing.assert_array_equal(value, getattr(ends[1].facts, name))


def test_rows_that_depend_on_each_other_are_refused():
    q_LD = torch.tensor([[1, 2, 3], [0, 0, 0]], dtype=torch.int16)
    with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
        Iteration(q_LD)


@pytest.mark.parametrize(
    ("dim", "size", "count"), [(1, 1, 1), (70, 30, 50), (20_000, 3, 2), (300, 200, 4096)]
)
def test_bytes_are_no_less_than_what_is_held(dim, size, count):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(-900, 901, (min(count, 60), dim))).short()
    one = Iteration(BASES["random"](x, None, size, rng))
    one.add(x)
    held = sum(tensor.nbytes for tensor in one.state().values())
    # Products with the rows as they come, rounded, and what that lost, in float64; and as integers.
    adding = count * size * (3 * 8 + 2)
    assert held + adding <= Iteration.nbytes(dim, size, count) + 8 * len(one.state())


def test_errors_are_of_products_as_far_from_the_first_ones_as_they_are():
    """Sums of products that are measured from first samples far off are large, though data lie near zero."""
    rng = np.random.default_rng(3)
    x = whole(torch.from_numpy(rng.normal(size=(3000, 40)) * 10))
    first = whole(torch.from_numpy(15_000 + rng.normal(size=(6, 40)) * 10))
    x = torch.cat([first, x])
    iteration = Iteration(rows_as_integers(np.linalg.qr(rng.normal(size=(40, 5)))[0].T))
    for part in (first, x[6:]):
        iteration.add(part)
    truth = Dense(x)
    inside = np.linalg.inv(iteration.factor_LL.numpy())
    lower_LL = iteration.h_LL.tril().numpy()
    summed = float((inside @ (lower_LL + np.tril(lower_LL, -1).T) @ inside.T).trace())
    assert summed > 10 * (truth.total + len(x) * float(truth.mean_D.square().sum()))
    error = iteration.solve(truth.mean_D, truth.total).facts.error
    assert error >= 4 * summation_error(len(x)) * summed
