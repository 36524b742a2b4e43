"""Tables to paste, with the numbers of the spectra."""

from streamspread import store
from streamspread.report.labels import labels
from streamspread.report.markdown import render, to_markdown
from streamspread.report.runs import Collection, collect
from streamspread.report.summary import Table
from tests.spectra import NO1_DIMS, equal_run, equal_spectra

TEXTS = labels("en")


def test_a_table_is_rendered_as_github_reads_it():
    table = Table(["a|b", "n"], [["x|y", "1"], [["one", "two"], "2\n3"]], frozenset({1}))
    assert render(table).splitlines() == [
        "| a\\|b | n |",
        "| --- | --: |",
        "| x\\|y | 1 |",
        "| one<br>two | 2 3 |",
    ]


def test_names_are_shown_as_they_are_whatever_they_hold():
    table = Table(["<b>&"], [["__init__ *a* `b` ~c~ [d](e) \\"]])
    assert render(table).splitlines()[::2] == [
        "| &lt;b>&amp; |",
        r"| \_\_init\_\_ \*a\* \`b\` \~c\~ \[d\](e) \\ |",
    ]


def test_a_study_as_markdown(study_files):
    text = to_markdown(collect(study_files), TEXTS)
    assert "| no1 | plan of no1 | 24 epochs | 88.05 % | 1,000 | cifar10 train |" in text
    assert "| c1 | 70 (0.107 %) | 70 (0.107 %) |" in text
    assert "| c2 | 140 (0.214 %) | 140 (0.214 %) |" in text
    assert (
        "no3: c3 0.427 %, c4 0.641 %, c5 0.534 %, c6 0.854 % | ✗ does not hold<br>no3: not at c4 → c5 |"
        in text
    )
    assert "| after ReLU | ✓ holds |" in text
    assert "| no1: untrained |" in text
    assert "| layer | N = 500 | N = 1,000 | growth of K per doubling of N, at the end |" in text
    assert "| c1 | 67 | 70 | +4.5 % |" in text
    assert TEXTS["compare_note_differ"] not in text
    assert "![" not in text
    assert text.endswith(
        "### The commands that made these results\n\n```\n"
        "a call from Python\nstreamspread study --data 'parquet:it'\"'\"'s here'\n```\n"
    )


def test_networks_that_cannot_be_compared_are_shown_with_the_reason():
    equal = dict.fromkeys(NO1_DIMS, 10)
    runs = (equal_run("a", NO1_DIMS, equal), equal_run("b", NO1_DIMS, equal, samples=500, model="no2"))
    text = to_markdown(Collection(runs, {}), TEXTS)
    assert "These runs cannot be compared:\n\n- no1, no2: different numbers of images (1,000 and 500)" in text
    assert "| c1 | 7 (0.0107 %) | 7 (0.0107 %) |" in text


def test_other_models_get_the_tables_that_suit_them(tmp_path):
    spectra = equal_spectra({"conv1": 100, "fc": 10}, {"conv1": 30, "fc": 9}, model="torchvision:resnet18")
    store.write(spectra, tmp_path / "resnet.arrow")
    text = to_markdown(collect([tmp_path / "resnet.arrow"]), TEXTS)
    assert "| conv1 | 21 (21.0 %) |" in text
    assert (
        "| In no3 the share grows from c3 to c6, which have the same dimensions | – | – not tested |" in text
    )
