"""``show`` and ``report`` of spread over a training, from either of its files."""

import json

import pytest

from streamspread import store
from streamspread.results.spectra import Spectra
from tests.histories import history, reading
from tests.spectra import equal_layer


@pytest.fixture
def stored(tmp_path):
    """run.arrow and run.jsonl, of the same."""
    store.write_history(history(), tmp_path / "run.arrow")
    store.Lines(tmp_path / "run.jsonl", history().readings)
    return tmp_path


@pytest.mark.parametrize("name", ["run.arrow", "run.jsonl"])
def test_show_prints_each_look(name, cli, stored):
    code, out, err = cli("show", name)
    assert (code, err) == (0, "")
    assert "15…18" in out
    assert "c2, step 800: NaN in the activation" in out
    assert "limited by the number of samples: c2" in out


def test_show_gives_other_programs_the_same_rows(cli, stored):
    code, out, _ = cli("show", "run.arrow", "--format", "json")
    assert code == 0
    written = store.read_history(stored / "run.jsonl")
    assert json.loads(out)["readings"] == [one.row() for one in written.readings]
    code, out, _ = cli("show", "run.jsonl", "--format", "csv")
    head, *lines = out.splitlines()
    assert head.startswith("step,until,layer,shape,dim,samples")
    assert len(lines) == len(history())


def test_a_threshold_that_was_not_kept_is_refused(cli, stored):
    code, out, err = cli("show", "run.arrow", "--thresholds", "0.9")
    assert (code, out) == (2, "")
    assert "no K at τ = 0.9 was kept, only at 0.7" in err


def test_a_page_of_histories_alone_and_beside_results(cli, stored):
    pytest.importorskip("vl_convert", reason="figures need vl-convert")
    store.write(Spectra([equal_layer("c1", 64, 4, 20)], (0.7,), {"model": "no1"}), stored / "no1.arrow")
    files = ["over-steps.png", "over-steps.svg", "over-steps.csv"]
    for name, given in {"alone": ["run.jsonl"], "beside": ["run.jsonl", "no1.arrow"]}.items():
        code, _, err = cli("report", *given, "--out", name)
        assert (code, err) == (0, "")
        page = (stored / name / "index.html").read_text(encoding="utf-8")
        assert "<svg" in page
        assert "15…18 (7.50…9.00" in page
        assert {path.name for path in (stored / name / "figures").iterdir()} >= set(files)


def test_markdown(cli, stored):
    code, out, err = cli("report", "run.arrow", "--format", "markdown")
    assert (code, err) == (0, "")
    assert "| 800 | 15…18 (7.50…9.00 %) | – |" in out
    assert "c2, 800: NaN in the activation" in out


def test_where_nothing_was_seen_there_is_nothing_to_report(cli, stored):
    (stored / "empty.jsonl").write_text("")
    code, out, err = cli("report", "empty.jsonl")
    assert (code, out) == (2, "")
    assert "'empty.jsonl' holds no look yet" in err
    code, out, _ = cli("show", "empty.jsonl")
    assert (code, out) == (0, "0 looks\nno look yet\n")


@pytest.mark.parametrize("low", [0, 3])
def test_a_page_of_one_look(low, cli, stored):
    pytest.importorskip("vl_convert", reason="figures need vl-convert")
    store.Lines(stored / "one.jsonl", [reading(0, "c1", low)])
    assert cli("report", "one.jsonl", "--out", "page")[0] == 0
    assert (stored / "page" / "figures" / "over-steps.svg").is_file() == (low > 0)
