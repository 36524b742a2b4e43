"""Tables to paste, with the numbers of the spectra."""

from streamspread import store
from streamspread.reports.build import to_markdown
from streamspread.reports.collection import Collection, collect
from streamspread.reports.table import Table, markdown
from streamspread.reports.texts import texts_in
from streamspread.results.spectra import Spectra
from tests.spectra import NO1_DIMS, equal_layer, equal_run, equal_spectra

TEXTS = texts_in("en")


def test_a_table_is_rendered_as_github_reads_it():
    table = Table.of_rows(["a|b", "n"], [["x|y", "1"], [["one", "two"], "2\n3"]])
    assert markdown(table).splitlines() == [
        "| a\\|b | n |",
        "| --- | --: |",
        "| x\\|y | 1 |",
        "| one<br>two | 2 3 |",
    ]


def test_names_are_shown_as_they_are_whatever_they_hold():
    table = Table.of_rows(["<b>&"], [["__init__ *a* `b` ~c~ [d](e) \\"]])
    assert markdown(table).splitlines()[::2] == [
        "| &lt;b>&amp; |",
        r"| \_\_init\_\_ \*a\* \`b\` \~c\~ \[d\](e) \\ |",
    ]


def test_a_study_as_markdown(study_files):
    text = to_markdown(collect(study_files), TEXTS)
    assert "| no1 | plan of no1 | 24 epochs | 88.05 % | 50,000 | cifar10 train |" in text
    assert "| c1 | 70 (0.107 %) | 70 (0.107 %) |" in text
    assert "| c2 | 140 (0.214 %) | 140 (0.214 %) |" in text
    assert (
        "no3: c3 0.427 %, c4 0.641 %, c5 0.534 %, c6 0.854 % | ✗ does not hold<br>no3: not at c4 → c5 |"
        in text
    )
    assert "| after ReLU | ✓ holds |" in text
    assert "| no1: untrained |" in text
    assert "| layer | τ | N = 25,000 | N = 50,000 | growth of K per doubling of N, at the end |" in text
    assert "| c1 | 0.5 | 48 | 50 | +4.2 % |" in text
    assert "| c1 | 0.7 | 67 | 70 | +4.5 % |" in text
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
    assert "The paper" not in text
    assert text.startswith(
        "- At τ = 0.7, torchvision:resnet18 spreads over the smallest share of its dimensions at conv1 "
        "(21.0 %), and over the largest at fc (70.0 %)."
    )


def stored(tmp_path, layers, thresholds, **facts):
    facts = {"model": "no1", "data": "cifar10 train, 50,000 images"} | facts
    store.write(Spectra(layers, thresholds, facts), tmp_path / "r.arrow")
    return to_markdown(collect([tmp_path / "r.arrow"]), TEXTS)


def test_every_threshold_of_the_run_is_there_and_no_other(tmp_path):
    text = stored(tmp_path, [equal_layer("c1", 4096, 100, 2000)], (0.5, 0.9))
    assert "### K(0.5) and its share of the dimensions, K(0.5)/D" in text
    assert "| c1 | 50 (1.22 %) |" in text
    assert "### K(0.9) and its share of the dimensions, K(0.9)/D" in text
    assert "| c1 | 90 (2.20 %) |" in text
    assert "### K(0.7)" not in text
    heads = "| layer | shape | D | images | K at most | K(0.5) | K(0.5)/D | K(0.5) / K at most |"
    assert heads in text
    assert (
        "| c1 | 4096 | 4,096 | 2,000 | 1,999 | 50 | 1.22 % | 2.50 % | 90 | 2.20 % | 4.50 % | gram fp32 |"
        in text
    )
    assert "| layer | participation ratio | effective rank |" in text
    assert "| c1 | 100 | 100 |" in text


def test_what_a_verdict_takes_is_said_beside_the_verdicts(study_files, tmp_path):
    text = to_markdown(collect(study_files), TEXTS)
    assert "A verdict takes CIFAR-10, also as JPEG (else: other data), at least 1,000 images" in text
    dims, equal = {"c1": 4096, "c2": 4096}, {"c1": 4, "c2": 9}
    store.write(equal_spectra(dims, equal, data="noise, 50,000 images"), tmp_path / "noise.arrow")
    text = to_markdown(collect([tmp_path / "noise.arrow"]), TEXTS)
    assert "A verdict takes" not in text  # nothing of the paper
    store.write(equal_spectra(dims, equal, samples=200), tmp_path / "few.arrow")
    text = to_markdown(collect([tmp_path / "few.arrow"]), TEXTS)
    assert "| ? not settled<br>no1: too few images for c1 → c2 |" in text
    store.write(equal_spectra(NO1_DIMS, {"c1": 4, "c2": 9}), tmp_path / "both.arrow")
    both = to_markdown(collect([tmp_path / "noise.arrow", tmp_path / "both.arrow"]), TEXTS)
    assert "noise: other data |" in both
