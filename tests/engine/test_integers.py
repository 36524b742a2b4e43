"""Rounding int16 from end to end: what it holds, what it does not, and where it cannot be had."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread import kernels, store
from streamspread.accumulators.base import MOST_MOVED
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.engine import loading, planning
from streamspread.errors import ActivationError, DeviceError
from streamspread.options import Options
from streamspread.system.devices import CUDA
from tests import emulation
from tests.devices import CPU
from tests.networks import Sign, check_exact, growing, identity, known, network, smallest_budget
from tests.samples import TAUS, dense

CARD = torch.device("cuda", 0)


@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("samples", [100, 1000])
@pytest.mark.parametrize("batch_size", [7, 128])
def test_k_of_a_network(samples, method, batch_size):
    model, x = network("cnn", samples)
    want = known("cnn", samples)
    spectra = streamspread.analyze(
        model, x, ["0", "1", "4", "5"], TAUS, method=method, rounding="int16", batch_size=batch_size
    )
    for name, spectrum in spectra.items():
        check_exact(spectrum, want[name], rel=3e-5)  # 19,200 values of 14 bits, or more
        assert spectrum.rounding == "int16"
        assert 0.0 < spectrum.moved < 1e-6


def test_a_sketch_keeps_float32():
    model, x = network("cnn", 300)
    asked, plain = (
        streamspread.analyze(model, x, "1", (0.7,), method="sketch", rounding=rounding)["1"]
        for rounding in ("int16", "fp32")
    )
    assert asked.rounding == plain.rounding == "fp32"
    assert asked.components(0.7) == plain.components(0.7)


@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_a_layer_that_overflows_is_summed_again_in_a_larger_unit(method):
    x = growing(100, 500)
    model = nn.Sequential(nn.Identity(), Sign())
    spectra = streamspread.analyze(model, x, "*", TAUS, method=method, rounding="int16", batch_size=100)
    assert [s.rounding for s in spectra.values()] == ["int16", "int16"]
    check_exact(spectra["0"], dense(x))
    check_exact(spectra["1"], dense(x.sign()))


def test_a_range_of_sixty_digits_is_held():
    x = torch.cat([torch.randn(20, 4) * 1e-30, torch.randn(20, 4) * 1e30])
    spectrum = streamspread.analyze(identity(), x, "0", TAUS, rounding="int16", batch_size=20)["0"]
    check_exact(spectrum, dense(x), rel=1e-4)  # 80 values of 14 bits


@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize(("offset", "size"), [(100.0, 1e-3), (1e4, 0.1), (0.0, 1.0)])
def test_a_first_batch_of_one_sample_says_nothing_of_the_unit(offset, size, method):
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0)) * size + offset
    options = {"method": method, "rounding": "int16", "batch_size": 1}
    spectrum = streamspread.analyze(identity(), x, "0", TAUS, **options)["0"]
    check_exact(spectrum, dense(x), rel=1e-4)  # 800 values of 14 bits
    assert spectrum.moved < 1e-6


def test_an_overflow_of_data_that_can_be_read_once_names_the_layer_and_what_to_take():
    x = growing(100, 500)
    match = r"layer 0: int16 overflow in batch 2, and data that can be read once .* take --rounding fp32"
    with pytest.raises(ActivationError, match=match):
        streamspread.analyze(identity(), iter(x.split(100)), "0", method="covariance", rounding="int16")


def test_a_card_without_exact_products_is_refused(monkeypatch):
    monkeypatch.setattr(planning, "exact_speed", lambda device: 0.0)
    values = planning.Values(CARD, torch.float32, True, CUDA)
    match = "rounding int16 .* cuda:0 does not form here: take --rounding fp16, or --device cpu"
    with pytest.raises(DeviceError, match=match):
        planning.planned_at(values, Options(rounding="int16"), lambda rounding: None)


def test_auto_is_never_int16_on_a_card(monkeypatch):
    monkeypatch.setattr(planning, "exact_speed", lambda device: 100.0)
    monkeypatch.setattr(planning, "LEAST_GAIN", 0.0)
    values = planning.Values(CARD, torch.float32, True, CUDA)
    assert planning.planned_at(values, Options(), lambda rounding: rounding) == "fp16"
    assert planning.planned_at(values, Options(rounding="int16"), lambda rounding: rounding) == "int16"


@pytest.mark.skipif(emulation.COMPILER is None, reason="no g++ to compile the CUDA kernel with")
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_the_kernels_of_a_card_give_the_same_bits(method, monkeypatch):
    model, x = network("cnn", 300)
    options = {"method": method, "rounding": "int16", "batch_size": 70, "classes": True}
    data = torch.utils.data.TensorDataset(x, torch.arange(300) % 3)
    expected = streamspread.analyze(model, data, ["0", "1", "4"], TAUS, **options)
    module = emulation.load()
    for place in (kernels, loading):
        monkeypatch.setattr(place, "for_device", lambda device: module)
    monkeypatch.setattr(torch, "_int_mm", emulation.int_mm)
    for name, found in streamspread.analyze(model, data, ["0", "1", "4"], TAUS, **options).items():
        assert np.array_equal(found.lower_sums, expected[name].lower_sums)
        assert np.array_equal(found.upper_sums, expected[name].upper_sums)
        assert found.moved == pytest.approx(expected[name].moved, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_k_of_a_network_on_a_card_is_that_of_the_cpu(method):
    model, x = network("cnn", 1000)
    model, x = model.double(), x.double()  # whose forwards differ far less than a unit
    options = {"method": method, "rounding": "int16", "batch_size": 128}
    here, there = (
        streamspread.analyze(model, x, ["0", "1", "4", "5"], TAUS, device=device, **options)
        for device in ("cpu", "cuda:0")
    )
    for name, spectrum in there.items():
        assert spectrum.rounding == "int16"
        assert [spectrum.components(tau) for tau in TAUS] == [here[name].components(tau) for tau in TAUS]
        assert spectrum.total_variance == pytest.approx(here[name].total_variance, rel=1e-7)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's limit is one of x86")
def test_without_instructions_for_int8_matrices_others_are_chosen_by_what_was_measured():
    """oneDNN forms their products with instructions that saturate there, which a trial finds."""
    code = (
        "import torch, streamspread; from streamspread import kernels\n"
        "model = torch.nn.Sequential(torch.nn.Identity())\n"
        "plan = streamspread.plan(model, torch.randn(3000, 2000), ['0'], device='cpu')\n"
        "from streamspread.kernels import cpu\n"
        "words, digits = cpu._speeds()\n"
        "pays = kernels.exact_speed(torch.device('cpu')) >= 0.8\n"
        "print(words > 0.0, digits, plan.layers[0].rounding == ('int16' if pays else 'fp32'))"
    )
    limited = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=limited, capture_output=True, text=True, check=True, timeout=300
    )
    assert told.stdout.split() == ["True", "0.0", "True"]


def test_the_share_that_was_moved_is_kept_in_files(tmp_path):
    model, x = network("cnn", 100)
    spectra = streamspread.analyze(model, x, ["1", "4"], rounding="int16")
    store.write(spectra, tmp_path / "int16.arrow")
    again = store.read(tmp_path / "int16.arrow")
    assert [s.moved for s in again.values()] == [s.moved for s in spectra.values()]


@pytest.fixture
def taken_by_itself(monkeypatch):
    monkeypatch.setattr(planning, "LEAST_GAIN", 0.0)


@pytest.mark.usefixtures("taken_by_itself")
def test_auto_takes_it_where_it_pays():
    model, x = network("cnn", 1000)
    want = known("cnn", 1000)
    spectra = streamspread.analyze(model, x, ["0", "1", "4", "5"], TAUS, method="covariance")
    assert {spectrum.rounding for spectrum in spectra.values()} == {"int16"}
    for name, spectrum in spectra.items():
        check_exact(spectrum, want[name])


@pytest.mark.usefixtures("taken_by_itself")
def test_auto_leaves_it_where_sums_of_so_many_would_not_be_exact(monkeypatch):
    model, x = network("cnn", 1000)
    taken = []
    for most in (2**29, 999):
        monkeypatch.setattr(planning, "MOST_EXACT", most)
        taken.append(streamspread.plan(model, x, "1", method="covariance").rounding)
    assert taken == ["int16", "fp32"]


def varying_late(size):
    """(200, 3): the first batch of 50, all alike, tells a unit that what comes after it may lie within."""
    x = torch.zeros(200, 3)
    x[:, 0], x[50:, 1] = 1.0, size * torch.randn(150, generator=torch.Generator().manual_seed(0))
    return x


@pytest.mark.usefixtures("taken_by_itself")
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("rounding", ["auto", "int16"])
def test_what_int16_leaves_no_variance_of_is_summed_again_at_fp32(rounding, method):
    x = varying_late(1e-12)
    options = {"method": method, "rounding": rounding, "batch_size": 50}
    found = streamspread.analyze(identity(), x, "0", TAUS, **options)["0"]
    assert found.rounding == "fp32"
    assert found.total_variance == pytest.approx(float(x.double().var(0).sum()), rel=1e-6)
    assert found.components(0.7) == (1, 1)


@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("size", [5e-10, 1e-10, 5e-11])  # beside a unit of 2⁻³⁴ = 6e-11
def test_what_is_asked_for_is_summed_again_in_a_unit_that_fits(size, method):
    x = varying_late(size)
    options = {"method": method, "rounding": "int16", "batch_size": 50}
    found = streamspread.analyze(identity(), x, "0", TAUS, **options)["0"]
    assert found.rounding == "int16"
    assert found.moved < MOST_MOVED
    assert found.total_variance == pytest.approx(float(x.double().var(0).sum()), rel=5e-4)


def test_a_smaller_unit_that_does_not_fit_either_is_given_up():
    """One value tells the unit, and of all others little is left in it; in a smaller one it overflows."""
    x = 4e-7 * torch.randn(300, 30_000, generator=torch.Generator().manual_seed(0))
    x[5, 0] = 0.02
    spectrum = streamspread.analyze(identity(), x, "0", rounding="int16", batch_size=300)["0"]
    assert spectrum.rounding == "int16"
    assert 1e-3 < spectrum.moved < 1e-1


@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_a_constant_layer_is_one_though_its_values_lie_on_no_grid(method):
    x = torch.tensor([1.0, 1e-12, 0.0]).expand(200, 3)
    options = {"method": method, "rounding": "int16", "batch_size": 50}
    spectrum = streamspread.analyze(identity(), x, "0", TAUS, **options)["0"]
    assert spectrum.proof == "constant layer"
    assert spectrum.components(0.7) == (0, 0)


def test_what_rounding_left_nothing_of_is_known_after_a_resumption():
    x = varying_late(1e-12).flip(1)  # in the last tile but one
    makes = [
        Gram(3, 200, tile=1, precision=Precision("int16", most_moved=1e-3), device=CPU) for _ in range(2)
    ]
    for tile, state in ((0, makes[0]), (1, makes[0]), (2, makes[1])):
        if tile == 2:
            state.load_state({name: part.tensor for name, part in makes[0].state().items()})
        for part in x.split(50):
            state.update(part)
        if tile < 2:
            state.end_pass()
    with pytest.raises(Overflow, match="int16 left nothing of its deviations"):
        state.end_pass()


@pytest.mark.usefixtures("taken_by_itself")
@pytest.mark.parametrize("wrong", ["overflows", "is moved too far"])
def test_auto_sums_again_at_fp32_what_int16_does_not_hold(wrong):
    x = torch.randn(300, 40, generator=torch.Generator().manual_seed(0))
    if wrong == "overflows":
        x[:100] *= 1e-3
    else:
        x[5, 0] = 3e3
    spectra = streamspread.analyze(
        nn.Sequential(nn.Identity(), Sign()), x, "*", TAUS, method="covariance", batch_size=100
    )
    assert [spectrum.rounding for spectrum in spectra.values()] == ["fp32", "int16"]
    check_exact(spectra["0"], dense(x))


@pytest.mark.usefixtures("taken_by_itself")
def test_auto_keeps_fp32_where_data_come_once_or_twice_the_memory_is_not_there():
    x = torch.randn(200, 3000)
    once = streamspread.analyze(identity(), iter(x.split(100)), "0", method="covariance")["0"]
    assert once.rounding == "fp32"
    model = nn.Sequential(nn.Identity(), nn.Linear(3000, 1500))
    options = {"method": "covariance", "proof": False}
    budget = smallest_budget(model, x, ["0"], rounding="fp32", **options)
    assert smallest_budget(model, x, ["0"], rounding="int16", **options) > budget
    assert streamspread.plan(model, x, ["0"], memory=budget, **options).layers[0].rounding == "fp32"


def test_auto_is_fp32_where_products_of_integers_are_no_faster():
    x = torch.randn(20, 4)
    assert streamspread.plan(identity(), x, "0").layers[0].rounding == "fp32"


def test_what_is_asked_for_is_taken_however_far_it_moves_the_data():
    x = torch.randn(300, 40, generator=torch.Generator().manual_seed(0))
    x[5, 0] = 3e3
    spectrum = streamspread.analyze(identity(), x, "0", rounding="int16")["0"]
    assert spectrum.rounding == "int16"
    assert spectrum.moved > MOST_MOVED
