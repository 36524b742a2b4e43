"""``show``: stored results again, for the same thresholds or others, one or several."""

import json
import re

import pytest

from streamspread import store
from streamspread.results.spectra import Spectra
from tests.spectra import layer


@pytest.fixture
def stored(tmp_path):
    """Two results of one layer with eigenvalues 4, 3, 2, 1, named a.arrow and b.arrow."""
    for name in ("a", "b"):
        store.write(
            Spectra([layer("c1", (4.0, 3.0, 2.0, 1.0), samples=9)], (0.7,), {"title": f"result {name}"}),
            tmp_path / f"{name}.arrow",
        )


def test_the_table_again(cli, stored):
    code, out, err = cli("show", "a.arrow")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "result a"
    assert "K(0.7)" in out
    assert "50.0 %" in out


def test_other_thresholds_need_no_new_run(cli, stored):
    code, out, _ = cli("show", "a.arrow", "--thresholds", "0.4,0.95")
    assert code == 0
    assert "K(0.4)" in out
    assert "K(0.95)" in out
    assert "25.0 %" in out
    assert "100 %" in out
    assert "K(0.7)" not in out


def test_several_results_one_after_the_other(cli, stored):
    code, out, _ = cli("show", "a.arrow", "b.arrow")
    assert code == 0
    assert out.index("result a") < out.index("result b")


def test_a_bad_file_among_several_shows_none(cli, stored):
    code, out, err = cli("show", "a.arrow", "missing.arrow")
    assert (code, out) == (2, "")
    assert "no such file: 'missing.arrow'" in err


def test_json_and_csv_are_whole_documents(cli, stored):
    assert json.loads(cli("show", "a.arrow", "--format", "json").out)["layers"][0]["dim"] == 4
    header, line = cli("show", "a.arrow", "--format", "csv", "-t", "0.4").out.splitlines()
    assert header.startswith("layer,shape,dim,samples,")
    assert line.startswith("c1,4,4,9,gram,")
    code, out, err = cli("show", "a.arrow", "b.arrow", "--format", "json")
    assert (code, out) == (2, "")
    assert "json takes one file at a time" in err


def test_columns_are_chosen_by_name_and_an_unknown_one_lists_all(cli, tmp_path):
    path = tmp_path / "x.arrow"
    store.write(Spectra([layer("c1"), layer("c2")], thresholds=(0.5, 0.9)), path)
    code, out, _ = cli("show", path, "--columns", "layer,components, share,rankme,dim")
    lines = [line for line in out.splitlines() if line.startswith("layer")]
    expected = ["layer", "K(0.5)", "K(0.9)", "K(0.5) of K at most", "K(0.9) of K at most", "rankme", "D"]
    assert (code, re.split(r"\s{2,}", lines[0].strip())) == (0, expected)
    for columns in ("layer,foo", "", "low"):
        code, out, err = cli("show", path, "--columns", columns)
        assert (code, out) == (2, "")
        assert re.match(r"error: no column .*: --columns takes layer, shape, dim, .*participation_ratio", err)
    assert cli("show", path, "--columns", "low,layer", "--format", "csv").out.splitlines()[0] == "low,layer"
    told = json.loads(cli("show", path, "--columns", "layer,low", "--format", "json").out)
    assert [sorted(one) for one in told["layers"]] == [["components", "layer"]] * 2
    assert [sorted(one) for one in told["layers"][0]["components"]] == [["low"]] * 2
    assert "takes layer, shape, dim" in cli("show", path, "--columns", "spread", "--format", "csv").err
