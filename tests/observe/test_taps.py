"""What a network's points are called, which are chosen, and what is seen there."""

import pytest
import torch
from torch import nn

from streamspread.errors import ActivationError, DataError, LayerError, ModelError
from streamspread.models.network import build
from streamspread.observe.taps import Watch, first_tensor, list_taps, rows_of, select


def small_cnn(inplace=False):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.Flatten(),
        nn.Linear(256, 5),
    ).eval()


class Shared(nn.Module):
    """One ReLU, called three times in a forward; one of its inputs is a plain function of the one before."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(6, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.relu(self.second(x))
        return self.relu(x - 1)


class Outputs(nn.Module):
    """Parts with outputs of every kind."""

    class Returns(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.make = make

        def forward(self, x):
            return self.make(x)

    def __init__(self):
        super().__init__()
        self.pair = self.Returns(lambda x: (2 * x, x[:, :1]))
        self.table = self.Returns(lambda x: {"mask": None, "x": 3 * x, "y": x})
        self.nested = self.Returns(lambda x: ([None, (4 * x,)], x))
        self.nothing = self.Returns(lambda x: None)
        self.integers = self.Returns(lambda x: x.long())
        self.transposed = self.Returns(lambda x: x.T.repeat(1, 3))
        self.scalar = self.Returns(lambda x: x.sum())

    def forward(self, x):
        for part in self.children():
            part(x)
        return x


def names(taps):
    return [tap.name for tap in taps]


def seen(model, taps, batch):
    """What a watch hands over, copied, by tap; in the order of arrival."""
    found = {}
    Watch(model, taps).run(batch, lambda tap, x: found.update({tap.name: x.clone()}))
    return found


# What there is


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


# Which are chosen


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


# What is seen


def test_a_watch_hands_over_rows_of_each_tap():
    model, x = build("4,M,6", 0).eval(), torch.randn(3, 3, 32, 32)
    taps = select(list_taps(model, x), ["c1.relu", "gap"])
    found = seen(model, taps, x)
    with torch.no_grad():
        relu = model.c1.relu(model.c1.bn(model.c1(x)))
    assert list(found) == ["c1.relu", "gap"]
    assert found["c1.relu"].shape == (3, 4096)
    assert torch.equal(found["c1.relu"].sort().values, relu.flatten(1).sort().values)
    assert found["gap"].shape == (3, 6)


def test_calls_of_one_module_are_told_apart():
    torch.manual_seed(0)
    model, x = Shared(), torch.randn(5, 6)
    found = seen(model, select(list_taps(model, x), ["relu#3", "relu"]), x)
    with torch.no_grad():
        first = model.first(x).relu()
        second = model.second(first).relu()
    assert torch.equal(found["relu"], first)
    assert torch.equal(found["relu#2"], second)
    assert torch.equal(found["relu#3"], (second - 1).relu())


def test_the_first_tensor_of_an_output_is_taken():
    x = torch.randn(2, 5)
    model = Outputs()
    found = seen(model, select(list_taps(model, x), ["pair", "table", "nested"]), x)
    assert torch.equal(found["pair"], 2 * x)
    assert torch.equal(found["table"], 3 * x)
    assert torch.equal(found["nested"], 4 * x)
    assert first_tensor(["text", 3]) is None


def test_an_operation_in_place_after_the_tap_does_not_change_what_was_seen():
    x = torch.randn(4, 3, 8, 8)
    models = small_cnn(inplace=True), small_cnn(inplace=False)
    changed, plain = (seen(model, select(list_taps(model, x), ["1", "2"]), x) for model in models)
    assert float(changed["1"].min()) < 0  # else there was nothing for the ReLU to change
    assert torch.equal(changed["1"], plain["1"])
    assert torch.equal(changed["2"], plain["2"])


def test_attention_and_transformer_blocks_are_seen():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True, dropout=0.5)
    model = nn.Sequential(nn.Linear(6, 8), block, nn.Flatten(), nn.Linear(40, 3)).eval()
    x = torch.randn(4, 5, 6)
    taps = list_taps(model, x[:2])
    assert names(select(taps, "1.self_attn")) == ["1.self_attn"]
    assert "1.self_attn.out_proj" not in names(taps)  # attention reads its weights and never calls it
    found = seen(model, select(taps, ["1", "1.self_attn", "1.linear1"]), x)
    with torch.no_grad():
        inside = model[0](x)
        attended = block.self_attn(inside, inside, inside)[0]
        normed = block.norm1(inside + attended)
        whole = block.norm2(normed + block.linear2(block.linear1(normed).relu()))
    torch.testing.assert_close(found["1.self_attn"], attended.flatten(1))
    torch.testing.assert_close(found["1.linear1"], block.linear1(normed).detach().flatten(1))
    torch.testing.assert_close(found["1"], whole.flatten(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_handed_over_as_they_are(dtype):
    model, x = small_cnn().to(dtype), torch.randn(2, 3, 8, 8).to(dtype)
    taps = select(list_taps(model, x), "0")
    assert taps[0].itemsize == dtype.itemsize
    assert seen(model, taps, x)["0"].dtype == dtype


def test_channels_last_is_read_as_it_lies():
    model = small_cnn().to(memory_format=torch.channels_last)
    x = torch.randn(3, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    taps = select(list_taps(model, x), "0")
    assert taps[0].channels_last
    addresses = []
    handle = model[0].register_forward_hook(lambda m, i, o: addresses.append(o.data_ptr()))
    Watch(model, taps).run(x, lambda tap, rows: addresses.append(rows.data_ptr()))
    handle.remove()
    assert addresses[0] == addresses[1]  # a view, not a copy
    with torch.no_grad():
        assert torch.equal(seen(model, taps, x)["0"], model[0](x).permute(0, 2, 3, 1).flatten(1))


def test_the_order_of_features_is_that_of_the_first_batch_whatever_a_later_one_lies_in():
    x = torch.randn(2, 3, 4, 5)
    lying = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(rows_of(x, True), rows_of(lying, True))
    assert torch.equal(rows_of(x, False), rows_of(lying, False))


def test_the_forward_stops_after_the_deepest_tap():
    model, x = build("4,M,6", 0).eval(), torch.randn(2, 3, 32, 32)
    taps = list_taps(model, x)
    calls = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda m, i, name=name: calls.append(name))
    seen(model, select(taps, ["c1", "c1.relu"]), x)
    assert calls == ["", "c1", "c1.bn", "c1.relu"]
    calls.clear()
    seen(model, select(taps, ["gap"]), x)
    assert calls[-1] == "gap"


def test_a_model_that_catches_exceptions_is_still_stopped():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.after = nn.Linear(3, 3), nn.Linear(3, 3), 0

        def forward(self, x):
            try:
                x = self.a(x)
            except Exception:
                self.after += 1
            self.after += 1
            return self.b(x)

    model, x = Careful(), torch.zeros(2, 3)
    taps = select(list_taps(model, x), "a")
    model.after = 0
    seen(model, taps, x)
    assert model.after == 0

    def fail(tap, rows):
        raise ValueError("not the model's")

    with pytest.raises(ValueError, match="not the model's"):
        Watch(model, taps).run(x, fail)


def test_no_gradient_is_recorded_and_none_is_handed_over():
    model, x = small_cnn(), torch.randn(2, 3, 8, 8)
    recorded = []
    Watch(model, select(list_taps(model, x), "4")).run(
        x, lambda tap, rows: recorded.append(rows.requires_grad)
    )
    assert recorded == [False]
    assert torch.is_grad_enabled()


def test_another_shape_than_the_first_batchs_is_an_error_that_names_the_layer():
    model = nn.Sequential(nn.Conv2d(3, 2, 1))
    watch = Watch(model, list_taps(model, torch.zeros(2, 3, 8, 8)))
    with pytest.raises(
        ActivationError, match=r"layer 0 gave \(4, 2, 9, 9\) .* \(2, 8, 8\) per sample: all images"
    ):
        watch.run(torch.zeros(4, 3, 9, 9), lambda tap, rows: None)


def test_a_layer_that_a_batch_does_not_reach_is_named():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.b(x) if float(x.sum()) > 0 else self.a(x)

    model = Sometimes()
    watch = Watch(model, list_taps(model, torch.ones(2, 3)))
    with pytest.raises(ActivationError, match="layers b were not reached by every batch"):
        watch.run(-torch.ones(2, 3), lambda tap, rows: None)


# What is left behind


@pytest.mark.parametrize("error", [None, ValueError("in the consumer"), KeyboardInterrupt()])
def test_no_hook_is_left_behind(error):
    model, x = small_cnn(), torch.randn(2, 3, 8, 8)
    kept = model[1].register_forward_hook(lambda m, i, o: None)
    taps = select(list_taps(model, x), ["0", "1"])

    def consume(tap, rows):
        if error is not None:
            raise error

    if error is None:
        Watch(model, taps).run(x, consume)
    else:
        # It comes through the model's forward as it was raised, not as a failure of the model.
        with pytest.raises(type(error), match=f"^{error}$"):
            Watch(model, taps).run(x, consume)
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 0, 1, 0, 0, 0]
    kept.remove()
    assert torch.is_grad_enabled()


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
