"""Directions of a network's layers, from analyze to the file and back: those of the layers' own features."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import streamspread
from streamspread.cli import main
from streamspread.errors import BudgetError, DataError, OptionError, StoreError
from streamspread.system.memory import parse_bytes
from tests.devices import DEVICES
from tests.views import rows_by_hand

COUNT, SAMPLES = 5, 160


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


def images(count=SAMPLES):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 6, 6, generator=generator) * torch.linspace(0.1, 3, 36).view(6, 6) + 2.0


def features(model, x, layer):
    """A layer's features, flattened, in float64."""
    with torch.no_grad():
        return model[: int(layer) + 1](x).double().flatten(1).numpy()


def check(found, y_ND):
    """Directions against the singular vectors of the features themselves."""
    leading, centred_ND = found.leading, y_ND - y_ND.mean(0)
    values, vectors_DD = np.linalg.eigh(centred_ND.T @ centred_ND / (len(y_ND) - 1))
    count = min(COUNT, y_ND.shape[1])
    assert leading.vectors_KD.shape == (count, y_ND.shape[1])
    assert leading.vectors_KD.dtype == np.float32
    # Roundings of the data itself, before they were summed, are all that is beside the bounds.
    allowed = leading.residuals_K + 1e-5 * values[-1]
    assert (np.abs(leading.variances_K - values[::-1][:count]) <= allowed).all()
    overlap = np.abs(np.sum(leading.vectors_KD * vectors_DD[:, ::-1][:, :count].T, axis=1))
    gaps = np.abs(np.diff(values[::-1]))[:count]
    gaps = np.minimum(np.append(gaps, gaps[-1])[:count], np.append(np.inf, gaps)[:count])
    assert (np.sqrt(np.maximum(0.0, 1.0 - overlap**2)) <= np.maximum(2 * allowed / gaps, 2e-3)).all()
    np.testing.assert_allclose(leading.mean_D, y_ND.mean(0), atol=1e-4)
    np.testing.assert_allclose(leading.scores(y_ND), centred_ND @ leading.vectors_KD.T, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch_size", [33, 160])
@pytest.mark.parametrize("method", ["auto", "covariance", "gram", "sketch"])
def test_they_are_those_of_the_layers_features(method, batch_size, memory_format, device):
    """In the order of the flattened activation, also where it lies in memory otherwise."""
    model, x = network().to(memory_format=memory_format), images().to(memory_format=memory_format)
    options = {"rank": 60} if method == "sketch" else {}
    spectra = streamspread.analyze(
        model,
        x,
        ["0", "1", "3"],
        (0.5,),
        method=method,
        rounding="fp32",
        batch_size=batch_size,
        device=device,
        directions=COUNT,
        **options,
    )
    for name, found in spectra.items():
        check(found, features(network(), images(), name))
        assert found.summed_dim is None  # those of a narrow side are not the layer's
        assert "leading" not in repr(found)
        assert found.passes == {"gram": 2}.get(found.method, found.passes)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch_size", [33, 160])
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_scores_are_the_samples_on_them(method, batch_size, memory_format, device):
    model, x = network().to(memory_format=memory_format), TensorDataset(images())
    asked = {"method": method, "batch_size": batch_size, "device": device, "rounding": "fp32"}
    if method == "sketch":
        asked["rank"] = 60
    spectra = streamspread.analyze(model, x, ["0", "3"], (0.5,), directions=COUNT, scores=True, **asked)
    without = streamspread.analyze(model, x, ["0", "3"], (0.5,), directions=COUNT, **asked)
    for name, found in spectra.items():
        y_ND = features(network(), images(), name)
        assert found.leading.scores_NK.dtype == np.float32
        np.testing.assert_allclose(found.leading.scores_NK, found.leading.scores(y_ND), atol=2e-4)
        assert without[name].leading.scores_NK is None
        assert found.passes == without[name].passes + (method != "gram")
        np.testing.assert_array_equal(found.leading.vectors_KD, without[name].leading.vectors_KD)


def test_scores_that_cannot_be_had():
    with pytest.raises(OptionError, match="scores asked for, and no directions to have them on"):
        streamspread.analyze(network(), images(), scores=True)
    with pytest.raises(DataError, match="scores take a pass over the same samples in the same order"):
        streamspread.analyze(network(), iter(images().split(40)), ["3"], directions=2, scores=True)


def test_everything_else_is_as_without_them():
    model, x = network(), images()
    for method in ("covariance", "gram"):
        asked = {"method": method, "rounding": "fp32", "device": "cpu"}
        plain = streamspread.analyze(model, x, ["1"], (0.5, 0.9), **asked)["1"]
        found = streamspread.analyze(model, x, ["1"], (0.5, 0.9), directions=3, **asked)["1"]
        np.testing.assert_array_equal(found.eigenvalues, plain.eigenvalues)
        np.testing.assert_array_equal(found.upper_sums, plain.upper_sums)
        assert plain.leading is None
    spectra = streamspread.analyze(model, x, ["3"], directions=3)
    assert spectra.provenance["bound_failure"] == pytest.approx(3e-6)  # one more number is measured


@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_a_file_gives_them_back_bit_for_bit(method, tmp_path):
    spectra = streamspread.analyze(
        network(), images(), ["1", "3"], method=method, directions=COUNT, scores=True
    )
    spectra = streamspread.Spectra(
        [spectra["1"], *streamspread.analyze(network(), images(), ["3"]).values()], provenance={}
    )
    path = tmp_path / "run.arrow"
    streamspread.write(spectra, path)
    again = streamspread.read(path)
    assert again["3"].leading is None
    for name, value in vars(spectra["1"].leading).items():
        other = getattr(again["1"].leading, name)
        assert value is other is None or (value.dtype, value.tobytes()) == (other.dtype, other.tobytes())
    assert spectra["1"].leading.scores_NK.shape == (SAMPLES, COUNT)


def test_a_file_with_other_shapes_is_refused(tmp_path):
    import pyarrow as pa

    spectra = streamspread.analyze(network(), images(), ["3"], directions=2)
    path = tmp_path / "run.arrow"
    streamspread.write(spectra, path)
    with pa.ipc.open_file(pa.OSFile(str(path))) as reader:
        table = reader.read_all()
    row = table["leading"][0].as_py()
    for name, message in (
        ("vectors", "cannot reshape"),
        ("mean", "directions of shape"),
        ("residuals", "shape"),
    ):
        broken = pa.array([row | {name: row[name][1:]}], table.schema.field("leading").type)
        index = table.column_names.index("leading")
        changed = table.set_column(index, table.schema.field("leading"), broken)
        header = {key: text for key, text in table.schema.metadata.items() if not key.endswith(b"sha256")}
        changed = changed.replace_schema_metadata(header)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, changed.schema) as writer:
            writer.write_table(changed)
        with pytest.raises(StoreError, match=f"layer 3: .*{message}"):
            streamspread.read(path)


@pytest.mark.parametrize("count", [0, -1, 1.5, "many"])
def test_a_number_that_makes_no_sense(count):
    with pytest.raises(OptionError, match=r"directions .* asked for; it must be a whole number, 1 or more"):
        streamspread.analyze(network(), images(), directions=count)


def test_more_than_there_can_be():
    with pytest.raises(OptionError, match=r"160 directions asked for, and no layer here has more than 159"):
        streamspread.analyze(network(), images(), directions=160)
    with pytest.raises(OptionError, match=r"no layer here has more than 4: ask for fewer"):
        streamspread.analyze(network(), images(), ["3"], directions=5)
    found = streamspread.analyze(network(), images(), ["1", "3"], directions=20)
    assert {name: len(spectrum.leading) for name, spectrum in found.items()} == {"1": 20, "3": 4}


def test_what_does_not_repeat_has_the_directions_of_one_pass():
    batches = iter(images().split(40))
    found = streamspread.analyze(network(), batches, ["3"], directions=2)["3"]
    assert (found.method, found.passes, len(found.leading)) == ("covariance", 1, 2)
    with pytest.raises(OptionError, match=r"gram: (its directions take one more pass|the number of samples)"):
        streamspread.analyze(network(), iter(images().split(40)), ["3"], method="gram", directions=2)
    with pytest.raises(OptionError, match=r"sketch: a rank of 2 holds no 3 directions; raise --rank"):
        streamspread.analyze(network(), images(), ["3"], method="sketch", rank=2, directions=3)


def test_the_plan_counts_the_pass_and_the_memory():
    model, x = network(), TensorDataset(images())
    plain = streamspread.plan(model, x, ["1"], method="gram", device="cpu")
    wanted = streamspread.plan(model, x, ["1"], method="gram", device="cpu", directions=COUNT)
    assert (len(plain.passes), len(wanted.passes)) == (1, 2)
    assert "a pass for its directions" in wanted.layers[0].why
    kept = 4 * COUNT * (288 + SAMPLES)
    assert wanted.peak_bytes >= plain.peak_bytes + 2 * kept
    with pytest.raises(BudgetError, match=r"the smallest budget that would do is"):
        streamspread.plan(model, x, ["1"], method="gram", memory="1MB", device="cpu", directions=100)
    budget = parse_bytes(least_budget(model, x))
    found = streamspread.analyze(
        model, x, ["1"], method="gram", memory=budget, device="cpu", directions=COUNT, rounding="fp32"
    )
    check(found["1"], features(network(), images(), "1"))


def least_budget(model, x):
    """The smallest budget that a refusal names."""
    with pytest.raises(BudgetError) as refusal:
        streamspread.plan(model, x, ["1"], method="gram", memory=1000, device="cpu", directions=COUNT)
    return str(refusal.value).partition("would do is ")[2].partition(" (")[0]


def test_the_command_line(tmp_path, capsys):
    path = tmp_path / "x.arrow"
    line = f"run --model plan:4 --weights none --data noise -n 40 --layers gap --out {path} --directions 3"
    assert main(line.split()) == 0
    found = streamspread.read(path)
    assert found.provenance["options"]["directions"] == 3
    assert len(found["gap"].leading) == 3
    capsys.readouterr()
    assert main([*line.split()[:-1], "0"]) == 2
    assert "--directions" in capsys.readouterr().err
    assert main(["show", str(path)]) == 0


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("view", ["position", "pooled", "pooled-max"])
def test_views_have_directions_of_their_own_features(view, memory_format):
    """Also of maps that lie in memory with their features last, of which a view is no map."""
    model, x = network().to(memory_format=memory_format), images().to(memory_format=memory_format)
    asked = {"view": ["whole", view], "rounding": "fp32", "directions": COUNT, "scores": True}
    spectra = streamspread.analyze(model, x, ["1"], (0.5,), device="cpu", **asked)
    with torch.no_grad():
        y_ND = rows_by_hand(network()[:2](images()), "NCHW", view).double().numpy()
    check(spectra["1"], features(network(), images(), "1"))
    check(spectra[f"1@{view}"], y_ND)
    leading = spectra[f"1@{view}"].leading
    np.testing.assert_allclose(leading.scores_NK, leading.scores(y_ND), atol=2e-4)


def test_the_whole_of_an_output_with_its_samples_last_has_features_as_flattened():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x_NCT):
            return self.part(x_NCT.permute(1, 2, 0))

    x_NCT = torch.randn(40, 3, 4, generator=torch.Generator().manual_seed(0))
    asked = {"rounding": "fp32", "directions": 2, "scores": True, "device": "cpu"}
    leading = streamspread.analyze(Turned(), x_NCT, ["part"], axes="CTN", **asked)["part"].leading
    np.testing.assert_allclose(leading.scores_NK, leading.scores(x_NCT.numpy()), atol=2e-5)
