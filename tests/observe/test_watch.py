"""What is seen at a network's points, and that nothing is left there."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from streamspread.errors import ActivationError
from streamspread.models.network import build
from streamspread.observe.selection import select
from streamspread.observe.taps import Watch, activation_of, first_tensor, list_taps, rows_of
from tests.networks import Outputs, Shared, small_cnn


def names(taps):
    return [tap.name for tap in taps]


def seen(model, taps, batch):
    """What a watch hands over, copied, by tap; in the order of arrival."""
    found = {}
    Watch(model, taps).run(batch, lambda tap, x: found.update({tap.name: x.clone()}))
    return found


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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_activation_comes_back_from_its_rows_lying_as_it_lay(layout):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    again = activation_of(rows_of(x, layout == torch.channels_last), (3, 4, 5), layout == torch.channels_last)
    assert torch.equal(again, x)
    assert again.stride() == x.stride()


def test_what_enters_a_module_is_seen_before_it_runs_and_beside_what_it_gives():
    model, x = Shared(), torch.randn(5, 6)
    outputs = {tap.name: tap for tap in list_taps(model, x)}
    enters = [
        replace(outputs[name], name=f"into {name}", shape=(dim,), dim=dim, entering=True)
        for name, dim in (("first", 6), ("relu#3", 4))
    ]
    found = seen(model, [*enters, outputs["relu#2"], replace(enters[0], name="again")], x)
    assert list(found) == ["into first", "again", "relu#2", "into relu#3"]
    assert torch.equal(found["into first"], x)
    assert torch.equal(found["again"], x)
    assert torch.equal(found["into relu#3"], found["relu#2"] - 1)
    calls = []
    model.relu.register_forward_hook(lambda m, i, o: calls.append(o))
    seen(model, enters, x)
    assert len(calls) == 2  # it stopped before the third


def test_what_enters_is_what_other_hooks_have_made_of_it():
    model, x = small_cnn(), torch.randn(2, 3, 8, 8)
    tap = replace(list_taps(model, x)[0], shape=(3, 8, 8), dim=192, entering=True)
    model[0].register_forward_pre_hook(lambda m, inputs: (2 * inputs[0],))
    assert torch.equal(seen(model, [tap], x)["0"], 2 * x.flatten(1))


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
        ActivationError, match=r"layer 0 gave \(4, 2, 9, 9\) .* \(2, 8, 8\) per sample: all samples"
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
