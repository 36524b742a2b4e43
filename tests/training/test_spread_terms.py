"""What terms say of a batch's spread, against plain formulas; their gradients, by finite differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.training.spread_measures import KINDS, Batch, CentredGram

SAMPLES, DIM = 9, 14


def drawn(samples=SAMPLES, dim=DIM, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, dim, generator=generator, dtype=torch.float64) * torch.linspace(3, 0.3, dim)


def measured(kind, x, labels=None):
    gram, _, _, squares = CentredGram.apply(x, KINDS[kind].features)
    return KINDS[kind].measure(Batch(gram, x.shape[1], squares, labels))


def plain(kind, x, labels):
    """The measure as its paper writes it, by the covariance and loops over pairs."""
    samples, dim = x.shape
    x = x - x.mean(0)
    gram = x @ x.T
    cov = x.T @ x / samples
    scaled = cov * dim / cov.trace()
    off = scaled.square().sum() - scaled.diagonal().square().sum()
    if kind == "participation":
        pairs = [gram[i, j] ** 2 for i in range(samples) for j in range(samples) if i != j]
        return 2 * cov.trace().log() - torch.stack(pairs).mean().log()
    if kind == "participation-with-diagonal":
        return (cov.trace() ** 2 / cov.square().sum()).log()
    if kind == "effective-rank":
        shares = torch.linalg.svdvals(x)[: samples - 1] ** 2
        shares = shares / shares.sum()
        return -(shares * shares.log()).sum()
    if kind == "coding-rate":
        rows = x / (cov.trace().sqrt())
        inner = torch.eye(dim, dtype=x.dtype) + dim / (samples * 0.5) * rows.T @ rows
        return 0.5 * inner.logdet() / samples
    if kind == "vicreg":
        return -off / dim
    if kind == "decov":
        return -off / 2
    for label in labels.unique():
        x[labels == label] -= x[labels == label].mean(0)
    gram = x @ x.T
    pairs = [gram[i, j] ** 2 for i in range(samples) for j in range(samples) if labels[i] != labels[j]]
    return 2 * (gram.trace() / samples).log() - torch.stack(pairs).mean().log()


LABELS = torch.arange(SAMPLES) % 3


@pytest.mark.parametrize("kind", KINDS)
def test_each_measure_is_its_formula(kind):
    x = drawn()
    assert float(measured(kind, x, LABELS)) == pytest.approx(float(plain(kind, x, LABELS)), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    x = drawn().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: measured(kind, x, LABELS), (x,))
    assert torch.autograd.gradgradcheck(lambda x: measured(kind, x, LABELS), (x,))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-50, 50), seed=st.integers(0, 99))
def test_neither_scale_nor_mean_nor_rotation_changes_a_measure(kind, scale, shift, seed):
    x = drawn(seed=seed)
    moved = scale * x + shift
    if not KINDS[kind].features:  # those that look at single features are of the basis
        moved = moved @ torch.linalg.qr(drawn(DIM, DIM, seed + 1)).Q
    want = float(measured(kind, x, LABELS))
    assert float(measured(kind, moved, LABELS)) == pytest.approx(want, rel=1e-6, abs=1e-6)


def test_the_ratio_of_pairs_is_that_of_the_population_where_the_batch_s_own_saturates():
    dim, samples = 400, 64
    x = drawn(samples, dim) / torch.linspace(3, 0.3, dim)  # all directions of one size
    assert float(measured("participation-with-diagonal", x).exp()) < samples
    assert float(measured("participation", x).exp()) == pytest.approx(dim, rel=0.2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_inputs_are_summed_in_float32(dtype):
    x = (drawn(16, 600) + 30).to(dtype).requires_grad_()
    value = measured("participation", x)
    want = x.detach().double().requires_grad_()
    exact = measured("participation", want)
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(float(exact.detach()), abs=1e-4)
    value.backward()
    exact.backward()
    assert x.grad.dtype == dtype
    error = (x.grad.double() - want.grad).norm() / want.grad.norm()
    assert float(error) < 4 * torch.finfo(dtype).eps + 1e-5
