"""The article: its text is its template filled with its numbers, and no number of it is typed."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.beyond_the_sample import IMAGES, KNOWN
from docs.study import article, figures, make, runs

ROOT = make.HERE.parent.parent
FOUND = json.loads(make.NUMBERS.read_text(encoding="utf-8"))
TEMPLATE = make.TEMPLATE.read_text(encoding="utf-8")
TEXT = make.ARTICLE.read_text(encoding="utf-8")

#: What digits may stand for in the template: names, the paper's and others' own numbers, literature.
_NAMES = (
    r"\bc\d\b",  # layers
    r"\bno\d\b|No\. 3",  # networks
    r"\bNC1\b|CIFAR-10|float64",
    r"K\(0\.7\)|τ = 0\.7|70 %",  # the paper's threshold
    r"\b1 %",  # its first claim
    r"\bFigures? \d\b",
    r"\[\d\](?!\()",  # of the references
    r"^\d\. ",  # lists
    r"2×2|T²|Σλ²|N − 1",
)


def test_the_text_is_the_template_with_its_numbers():
    assert article.render(TEMPLATE, FOUND) == TEXT


def test_no_number_is_typed():
    text = TEMPLATE.partition("## References")[0]
    text = re.sub(r"\{\{.+?\}\}", "", text, flags=re.DOTALL)
    text = re.sub(r"```.*?```|`[^`]*`|^> .*$", "", text, flags=re.DOTALL | re.MULTILINE)  # code, a quotation
    text = re.sub(r"\]\([^)]*\)", "]", text)  # where links lead
    for name in _NAMES:
        text = re.sub(name, "", text, flags=re.MULTILINE)
    assert re.findall(r".{0,20}\d.{0,20}", text) == []


def test_figures_are_there_and_say_what_is_seen():
    shown = dict((path, said) for said, path in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", TEXT))
    assert {Path(path).stem for path in shown} == set(figures.figures(FOUND))
    for path, said in shown.items():
        assert (make.HERE / path).stat().st_size > 10_000
        assert len(said) > 120, path
    captions = re.findall(r"^\*\*Figure (\d)\.\*\*(.*?)\n\n", TEXT, flags=re.DOTALL | re.MULTILINE)
    assert [number for number, _ in captions] == [str(i + 1) for i in range(len(shown))]
    for _, caption in captions:
        assert "CIFAR-10 (JPEG)" in caption
        assert re.search(r"\d+ (training )?images", caption.replace("\n", " "))


@pytest.mark.parametrize("name", sorted(figures.figures(FOUND)))
def test_a_figure_draws_numbers(name):
    rows = figures.figures(FOUND)[name]["data"]["values"]
    assert len(rows) > 5
    assert all(value is not None for row in rows for value in row.values())


@pytest.mark.parametrize("name", runs.NETWORKS)
def test_numbers_fit_together(name):
    network = FOUND["networks"][name]
    for layer, one in network["layers"].items():
        assert one["spread"] == pytest.approx(one["k"] / one["dim"], rel=1e-5)
        assert 0 < one["k"] <= one["ceiling"] <= min(one["dim"], runs.IMAGES - 1)
        assert 0 < one["between"] <= one["span"] <= one["nine"] + 1e-3
        assert one["within"] >= 0.9 * one["k"] or layer == "gap"
        assert one["at"]["0.7"] == [one["k"]] * 2
        assert FOUND["cka"][name]["debiased"][f"{layer} {layer}"] == pytest.approx(1.0, abs=1e-3)
    assert len({network["seen"] for network in FOUND["networks"].values()}) == 1  # the same images


def test_numbers_of_no1_are_those_of_float64():
    """K of a dense float64 reference, which a benchmark made of the same images."""
    (path,) = (ROOT / "benchmarks" / "results").glob("against-float64-intel*.json")
    reference = json.loads(path.read_text(encoding="utf-8"))
    taus = [f"{tau:g}" for tau in reference["thresholds"]]
    found = {
        runs.IMAGES: FOUND["networks"]["no1"]["layers"],
        runs.FEWER: FOUND["conditions"]["no1-n1000"]["layers"],
    }
    compared = 0
    for row in reference["rows"]:
        at = found.get(row["samples"], {}).get(row["layer"], {}).get("at", {})
        for tau, k in zip(taus, row["float64"], strict=True):
            if tau in at:
                assert at[tau] == [k, k], (row["samples"], row["layer"], tau)
                compared += 1
    assert compared == 7 * 3 + 2


def test_numbers_of_all_images_are_those_of_their_page():
    page = (make.HERE / "all-images" / "report.md").read_text(encoding="utf-8")
    assert (FOUND["made"]["all"], FOUND["all"]) == (IMAGES, KNOWN)
    for name, layers in KNOWN.items():
        for layer, k in layers.items():
            dim = FOUND["networks"][name]["layers"][layer]["dim"]
            share = article.FORMATS["percent"](k / dim)
            assert re.search(rf"{layer} \|.* {k} \({share}\)", page), (name, layer, share)


def test_earlier_runs_over_the_same_images_found_the_same():
    page = (make.HERE / "tables.md").read_text(encoding="utf-8")
    table = page.partition("### K(0.7) / D")[2].strip().split("\n\n")[0]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    assert header[1:] == list(runs.NETWORKS)
    for layer, *cells in rows:
        ks = [FOUND["networks"][name]["layers"][layer]["k"] for name in runs.NETWORKS]
        assert [int(cell.split()[0].replace(",", "")) for cell in cells] == ks


def test_every_run_is_read_and_every_command_is_shown():
    made = [name for name, _ in runs.commands("cifar10", "study")]
    assert {name.partition(".")[0] for name in made} == {
        *FOUND["networks"],
        *FOUND["conditions"],
        *(f"{name}-cka" for name in FOUND["cka"]),
    }
    for name in made:
        assert f"--out study/{name}" in TEXT


def test_a_command_that_fails_says_why_and_nothing_is_written(tmp_path, monkeypatch, capfd):
    before = make.NUMBERS.read_bytes(), make.ARTICLE.read_bytes()
    failing = [("x.arrow", ["streamspread", "run", "--model", "no9", "--out", str(tmp_path / "x.arrow")])]
    monkeypatch.setattr(runs, "commands", lambda data, folder: failing)
    with pytest.raises(SystemExit, match="2"):
        make.make("noise", tmp_path)
    assert "unknown model 'no9'" in capfd.readouterr().err
    assert (make.NUMBERS.read_bytes(), make.ARTICLE.read_bytes()) == before


def test_what_is_not_there_is_said_by_its_path():
    with pytest.raises(KeyError, match=r"networks\.no9\.k: nothing is at 'no9'"):
        article.render("{{networks.no9.k}}", FOUND)
    with pytest.raises(KeyError, match=r"range\.c5\.7: nothing is at '7'"):
        article.render("{{range.c5.7|percent}}", FOUND)


@pytest.mark.parametrize(
    ("form", "value", "said"),
    [
        ("percent", 0.00144958, "0.145 %"),
        ("percent", 0.387654, "38.8 %"),
        ("percent", 1.0, "100 %"),
        ("whole", 0.4158, "42 %"),
        ("times", 2.9953, "3.0"),
        ("times", 15.5, "16"),
        ("number", 1234.5, "1,234"),
        ("number", 0.5591, "0.559"),
        ("count", 65536, "65,536"),
    ],
)
def test_formats(form, value, said):
    assert article.FORMATS[form](value) == said
