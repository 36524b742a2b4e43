"""What a network's points are called, and which are chosen."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import DataError, LayerError, ModelError
from streamspread.models.network import build
from streamspread.observe.selection import select
from streamspread.observe.taps import list_taps
from tests.networks import Outputs, Shared, small_cnn


def names(taps):
    return [tap.name for tap in taps]


def test_taps_are_all_module_outputs_in_the_order_of_the_forward():
    taps = list_taps(build("4,M,6", 0).eval(), torch.zeros(2, 3, 32, 32))
    assert names(taps) == ["c1", "c1.bn", "c1.relu", "c2", "c2.bn", "c2.relu", "gap", "classifier"]
    assert [tap.shape for tap in taps[::3]] == [(4, 32, 32), (6, 16, 16), (6,)]
    assert [tap.dim for tap in taps[::3]] == [4096, 1536, 6]
    assert taps[0].kind == "ConvLayer"
    assert {tap.call for tap in taps} == {1}
    assert all(tap.observable for tap in taps)
    assert {tap.itemsize for tap in taps} == {4}


def test_a_module_called_again_gives_further_taps():
    taps = list_taps(Shared(), torch.zeros(2, 6))
    assert names(taps) == ["first", "relu", "second", "relu#2", "relu#3"]
    assert [(tap.module, tap.call) for tap in taps if tap.kind == "ReLU"] == [
        ("relu", 1),
        ("relu", 2),
        ("relu", 3),
    ]


def test_operations_are_those_of_the_forward_up_to_the_tap():
    taps = list_taps(small_cnn(), torch.zeros(2, 3, 8, 8))
    conv, linear = 2 * 3 * 9 * 4 * 64, 2 * 256 * 5
    assert [tap.operations for tap in taps] == [conv, conv, conv, conv, conv + linear]


def test_what_cannot_be_observed_is_listed_as_such():
    taps = {tap.name: tap for tap in list_taps(Outputs(), torch.randn(2, 5))}
    assert "nothing" not in taps
    assert {name for name, tap in taps.items() if tap.observable} == {"pair", "table", "nested"}


def test_a_model_that_does_not_run_is_an_error_with_its_own_first_line():
    with pytest.raises(
        ModelError, match=r"does not run on a batch of shape \(2, 7\), torch.float32: mat1 and mat2"
    ):
        list_taps(Shared(), torch.zeros(2, 7))


def test_an_error_of_the_package_passes_through_the_forward():
    class Picky(nn.Module):
        def forward(self, x):
            raise DataError("images must be square")

    with pytest.raises(DataError, match=r"^images must be square$"):
        list_taps(nn.Sequential(Picky()), torch.zeros(2, 7))


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ("c1", ["c1"]),
        ("c?", ["c1", "c2"]),
        ("*.relu", ["c1.relu", "c2.relu"]),
        (["gap", "c1*"], ["c1", "c1.bn", "c1.relu", "gap"]),
        (["c2", "c2", "c?"], ["c1", "c2"]),
        ("c[2-9].bn", ["c2.bn"]),
        ("all", ["c1", "c2", "gap"]),
        (["all", "classifier"], ["c1", "c2", "gap", "classifier"]),
    ],
)
def test_globs_choose_in_network_order(patterns, chosen):
    model = build("4,M,6", 0).eval()
    taps = list_taps(model, torch.zeros(2, 3, 32, 32))
    assert names(select(taps, patterns, model.default_layers)) == chosen


def test_a_pattern_means_all_calls_of_a_module_and_its_number_one_of_them():
    taps = list_taps(Shared(), torch.zeros(2, 6))
    assert names(select(taps, "relu")) == ["relu", "relu#2", "relu#3"]
    assert names(select(taps, "relu#2")) == ["relu#2"]
    assert names(select(taps, "relu#*")) == ["relu#2", "relu#3"]


def test_all_means_convolutions_and_linear_layers_where_a_model_names_none():
    assert names(select(list_taps(small_cnn(), torch.zeros(2, 3, 8, 8)), "all")) == ["0", "4"]


def test_all_leaves_out_linear_layers_that_cannot_be_observed():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(4, 3), nn.Linear(12, 2)

        def forward(self, x):
            return self.outer(self.inner(x.reshape(-1, 4)).reshape(x.shape[0], -1))

    assert names(select(list_taps(Windows(), torch.zeros(2, 16)), "all")) == ["outer"]


def test_a_glob_that_matches_nothing_names_the_nearest():
    taps = list_taps(build("4,M,6", 0).eval(), torch.zeros(2, 3, 32, 32))
    with pytest.raises(
        LayerError, match=r"no layer matches 'c1\.rellu': nearest are c1\.relu, .*streamspread layers"
    ):
        select(taps, ["c1", "c1.rellu"])


def test_nothing_asked_for_and_nothing_there_are_errors():
    with pytest.raises(LayerError, match="no layer asked for: give all, or names"):
        select(list_taps(Shared(), torch.zeros(2, 6)), [])
    with pytest.raises(LayerError, match="'all' names nothing in this model"):
        select(list_taps(nn.Sequential(nn.ReLU()), torch.zeros(2, 6)), "all")


@pytest.mark.parametrize("name", ["integers", "transposed", "scalar"])
def test_a_layer_that_cannot_be_observed_is_refused_when_asked_for(name):
    taps = list_taps(Outputs(), torch.randn(2, 5))
    with pytest.raises(
        LayerError, match=rf"layer '{name}' \(Returns\) cannot be analysed: .* one row per sample"
    ):
        select(taps, name)


def test_outputs_that_no_kernel_reads_cannot_be_observed():
    class Outputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.empty, self.sparse, self.small = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, x):
            self.empty(x[:, :0])
            self.sparse(x.to_sparse())
            self.small(x.to(torch.float8_e4m3fn))
            return x

    taps = list_taps(Outputs(), torch.randn(4, 6))
    assert [(tap.name, tap.observable) for tap in taps] == [
        ("empty", False),
        ("sparse", False),
        ("small", False),
    ]


def test_torchscript_is_refused_as_a_model_and_passed_over_inside_one():
    scripted = torch.jit.trace(nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4))
    with pytest.raises(ModelError, match="TorchScript model cannot be observed: give the module"):
        list_taps(scripted, torch.randn(2, 4))
    for model in (scripted, torch.jit.script(nn.Linear(4, 4))):
        with pytest.raises(ModelError, match="TorchScript model cannot be observed: give the module"):
            streamspread.analyze(model, torch.randn(4, 4))
    taps = list_taps(nn.Sequential(scripted, nn.Linear(4, 3)), torch.randn(2, 4))
    assert [tap.name for tap in taps] == ["1"]


@pytest.mark.parametrize(("layers", "words"), [(None, "no layer asked for"), ([0], "named by texts, got 0")])
def test_layers_that_are_no_names_are_refused(layers, words):
    taps = list_taps(nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4))
    with pytest.raises(LayerError, match=words):
        select(taps, layers)


def test_memory_that_cannot_be_had_is_not_the_models_fault():
    class Greedy(nn.Module):
        def forward(self, x):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …")

    with pytest.raises(MemoryError, match="can't allocate memory"):
        list_taps(Greedy(), torch.randn(2, 4))


def test_all_means_convolutions_with_a_parametrised_weight_too():
    from torch.nn.utils.parametrizations import spectral_norm, weight_norm

    model = nn.Sequential(
        weight_norm(nn.Conv2d(3, 4, 1)), spectral_norm(nn.Conv2d(4, 4, 1)), nn.Flatten(), nn.Linear(16, 2)
    )
    found = select(list_taps(model, torch.randn(2, 3, 2, 2)), "all")
    assert [tap.name for tap in found] == ["0", "1", "3"]


def test_the_first_tensor_of_a_dataclass_is_taken():
    @dataclass
    class Output:
        loss: float
        state: torch.Tensor
        more: torch.Tensor

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x):
            return self.inner(Output(0.5, x[:, :3], x))

    assert [(tap.name, tap.shape) for tap in list_taps(Model(), torch.randn(2, 4))] == [("inner", (3,))]
