"""The random twin beside a network: the same data and options, other weights, in every form of a result."""

import csv
import io
import json

import pytest
import torch
from rich.console import Console
from torch import nn

import streamspread
from streamspread.errors import DataError, ModelError, OptionError
from streamspread.models.network import build
from streamspread.models.twin import random_twin
from streamspread.reports import export
from streamspread.reports.collection import collect
from streamspread.reports.spectra_table import print_spectra
from streamspread.results.spectra import Spectra
from tests.spectra import layer

IMAGES = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
ASKED = {"layers": ["c1", "gap"], "thresholds": (0.5, 0.9), "device": "cpu", "rounding": "fp32"}


@pytest.fixture(scope="module")
def both():
    model = build("4,M,6", 0)
    return model, streamspread.analyze(model, IMAGES, with_random=True, seed=3, **ASKED)


def test_the_twins_numbers_are_those_of_the_twin_by_itself(both):
    model, spectra = both
    assert spectra.twin.provenance["data_seen"] == spectra.provenance["data_seen"]
    assert spectra.provenance["options"]["with_random"]
    twin = streamspread.analyze(random_twin(model, 4).module, IMAGES, seed=3, **ASKED)
    alone = streamspread.analyze(model, IMAGES, seed=3, **ASKED)
    assert alone.twin is None
    for name in ("c1", "gap"):
        assert spectra[name].eigenvalues.tolist() == alone[name].eigenvalues.tolist()
        assert spectra.twin[name].eigenvalues.tolist() == twin[name].eigenvalues.tolist()
        assert spectra.twin[name].eigenvalues.tolist() != alone[name].eigenvalues.tolist()
    facts = spectra.twin.provenance
    assert (facts["weights"], facts["weights_sha256"], facts["seed"]) == ("none", None, 4)


def test_a_file_has_both(both, tmp_path):
    _, spectra = both
    streamspread.write(spectra, tmp_path / "x.arrow")
    again = streamspread.read(tmp_path / "x.arrow")
    assert list(again) == list(again.twin) == ["c1", "gap"]
    for wanted, found in ((spectra, again), (spectra.twin, again.twin)):
        assert found.provenance == json.loads(json.dumps(wanted.provenance))
        assert [s.eigenvalues.tolist() for s in found.values()] == [
            s.eigenvalues.tolist() for s in wanted.values()
        ]
    assert [run.name for run in collect([tmp_path / "x.arrow"]).networks] == ["x", "x, random"]


def test_other_thresholds_are_asked_of_both(both):
    _, spectra = both
    assert spectra.at((0.3,)).thresholds == spectra.at((0.3,)).twin.thresholds == (0.3,)
    assert spectra.at((0.3,)).twin["c1"] is spectra.twin["c1"]


def printed(spectra, width=None):
    file = io.StringIO()
    print_spectra(spectra, Console(file=file, width=width, force_terminal=width is not None))
    return file.getvalue()


def known():
    own = [layer("c1", (4.0, 3.0, 2.0, 1.0), samples=9), layer("c2", (4.0, 4.0), samples=9)]
    twin = Spectra([layer("c1", (1.0, 1.0, 1.0, 1.0), samples=9)], (0.5, 0.7), {"notes": ["as it is"]})
    return Spectra(own, (0.5, 0.7), twin=twin)


def test_the_table_has_k_beside_k_of_random_weights():
    lines = printed(known()).splitlines()
    assert "K random: of the same network with fresh weights, over the same images" in lines
    assert "note: as it is" in lines
    head = next(line for line in lines if line.startswith("layer"))
    assert head.index("K(0.5)") < head.index("K(0.5) random") < head.index("K(0.7) random")
    (row,) = (line.split() for line in lines if line.startswith("c1"))
    assert row[5:8] == ["2", "2", "50.0"]
    assert row[11:14] == ["2", "3", "50.0"]  # behind the spread and K over its ceiling, in per cent
    (missing,) = (line.split() for line in lines if line.startswith("c2"))
    assert missing[6] == "–"
    assert "random" not in printed(Spectra(known().values(), (0.5,)))


def test_a_narrow_table_has_them_too():
    text = printed(known(), width=60)
    assert "K(τ) random" in text


def test_records_have_the_twins_k():
    rows = list(csv.DictReader(io.StringIO(export.to_csv(known()))))
    assert [(row["layer"], row["low"], row["random_low"], row["random_high"]) for row in rows] == [
        ("c1", "2", "2", "2"),
        ("c1", "2", "3", "3"),
        ("c2", "1", "", ""),
        ("c2", "2", "", ""),
    ]
    first = json.loads(export.to_json(known()))["layers"][0]["components"][1]
    assert (first["low"], first["random_low"], first["random_high"]) == (2, 3, 3)


def test_data_that_come_once_have_no_twin_and_nothing_is_read_of_them():
    batches = iter([IMAGES])
    with pytest.raises(
        OptionError, match=r"the random twin needs the samples of the one-shot .* again: give"
    ):
        streamspread.analyze(build("4", 0), batches, with_random=True)
    assert next(batches) is IMAGES


def test_data_that_differ_for_the_twin_are_refused():
    calls = []

    def batches():
        calls.append(len(calls))
        return iter([IMAGES + (len(calls) > passes)])

    model, passes = build("4", 0), 10**9
    streamspread.analyze(model, batches, "gap")
    passes, calls[:] = len(calls), []
    with pytest.raises(DataError, match="batches from batches: other samples came for the random twin"):
        streamspread.analyze(model, batches, "gap", with_random=True)


def test_a_network_without_a_twin_is_refused_before_its_data_are_read():
    def never():
        raise AssertionError("data was read")

    model = nn.Sequential(nn.PReLU(), nn.ParameterList([torch.ones(2)]))
    with pytest.raises(ModelError, match=r"no reset_parameters sets 1\.0;"):
        streamspread.analyze(model, never, with_random=True)


def test_a_twin_can_be_given():
    model, fresh = (Tokens(seed) for seed in (0, 1))
    data = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ModelError, match=r"no reset_parameters sets token; .* give it as twin=…$"):
        streamspread.analyze(model, data, with_random=True)
    spectra = streamspread.analyze(model, data, twin=fresh)
    assert spectra.provenance["options"]["with_random"]
    assert (
        spectra.twin["inner"].eigenvalues.tolist()
        == streamspread.analyze(fresh, data)["inner"].eigenvalues.tolist()
    )


class Tokens(nn.Module):
    """With a parameter that no method sets."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.inner, self.token = nn.Linear(4, 4), nn.Parameter(torch.randn(4))

    def forward(self, x):
        return self.inner(x * self.token)


@pytest.mark.parametrize(
    ("twin", "message"),
    [
        (3, "the twin must be a torch.nn.Module, got int"),
        (nn.Linear(4, 4), r"another network: .*inner\.weight.* differ in shape, or are in one alone"),
        (Tokens(0), "the twin has the network's own weights"),
    ],
)
def test_a_twin_that_is_none_is_refused(twin, message):
    with pytest.raises(ModelError, match=message):
        streamspread.analyze(Tokens(0), torch.randn(30, 4), twin=twin)
