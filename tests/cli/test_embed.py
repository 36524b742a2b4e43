"""``embed``: points and a picture; bad input is one line and exit code 2."""

import os
import re

import pytest

from streamspread import store

pytest.importorskip("vl_convert", reason="figures need vl-convert")
pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")

SMALL = {
    "--model": "plan:4,M,6",
    "--weights": "none",
    "--data": "noise",
    "--samples": "120",
    "--components": "10",
    "--device": "cpu",
    "--out": "points.arrow",
}


def given(**changed):
    options = SMALL | {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
    return [word for pair in options.items() for word in pair]


def test_points_and_picture(cli, tmp_path):
    code, out, err = cli("embed", *given())
    assert code == 0
    assert re.search(r"^c1: 10 of 4,096 components hold \d+\.\d% of the variance$", out, re.MULTILINE)
    assert "gap: 6 of 6 components hold 100.0% of the variance" in out
    assert err.splitlines()[-1] == "wrote points.arrow, points.png and points.svg"
    assert sorted(os.listdir(tmp_path)) == ["points.arrow", "points.png", "points.svg"]
    embedding = store.read_embedding(tmp_path / "points.arrow")
    assert (list(embedding), embedding.samples) == (["c1", "c2", "gap"], 120)
    facts = embedding.provenance
    assert facts["command"][:2] == ["streamspread", "embed"]
    assert (facts["split"], facts["axes"], facts["weights"]) == ("test", 10, "none")


def images(folder, count, color):
    from PIL import Image

    (folder / "one").mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (32, 32), color(index)).save(folder / "one" / f"{index}.png")


def test_a_constant_layer_is_called_so(cli, tmp_path):
    images(tmp_path / "grey", 12, lambda index: (90, 90, 90))
    few = {"samples": "12", "components": "3", "perplexity": "2"}
    code, out, _ = cli("embed", *given(data="folder:grey", layers="gap", **few))
    assert (code, out) == (0, "gap: constant, the same for every image\n")


def test_images_larger_than_pillow_likes_are_no_warning(cli, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # 32 × 32 is more, but not twice as many
    images(tmp_path / "large", 12, lambda index: (20 * index, 9, 9))
    few = {"samples": "12", "components": "3", "perplexity": "2"}
    code, _, err = cli("embed", *given(data="folder:large", layers="gap", **few), "--quiet")
    assert (code, err) == (0, "")


def test_its_points_join_a_report(cli, tmp_path):
    cli("embed", *given())
    options = "--model plan:4,M,6 --weights none --data noise --samples 24 --out r.arrow"
    assert cli("run", *options.split()).code == 0
    code, _, err = cli("report", "r.arrow", "points.arrow")
    assert (code, err) == (0, "")
    assert 'id="latent-space"' in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "report" / "figures" / "latent-points.png").is_file()
    assert "points.arrow' holds an embedding, not spectra" in cli("show", "points.arrow").err


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"samples": "90"}, r"perplexity 30 needs more than 90 samples, and there are 90"),
        (
            {"components": "100000"},
            r"100,000 principal components asked for, and 120 samples have at most 119",
        ),
        ({"perplexity": "0"}, r"perplexity 0 asked for"),
        ({"out": "missing/x.arrow"}, r"folder '.*missing' does not exist"),
        ({"out": "tsne.png"}, r"cannot write points to 'tsne\.png': the name must end in \.arrow"),
        ({"lang": "fr"}, r"'--lang'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, tmp_path, changed, words):
    code, out, err = cli("embed", *given(**changed))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(words, err)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_that_cannot_be_written_is_said_before_any_image_is_read(cli, tmp_path, suffix):
    (tmp_path / f"points.{suffix}").mkdir()
    code, out, err = cli("embed", *given(data="folder:nowhere"))
    assert (code, out) == (2, "")
    assert re.match(rf"error: cannot write 'points\.{suffix}': it is a folder.*\n\Z", err)
    assert os.listdir(tmp_path) == [f"points.{suffix}"]


def test_ctrl_c_after_some_layers_keeps_and_draws_them(cli, tmp_path, monkeypatch):
    from streamspread.api import embed as api
    from streamspread.api.embed import Plane

    (tmp_path / "points.arrow").write_text("what was whole")

    def one_alone(scores, *_):
        yield Plane(scores[0][:, :2], 0.0, 0.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "to_planes", one_alone)
    code, out, err = cli("embed", *given(components="3"))
    assert code == 130
    assert out.splitlines()[0] == "a partial result: interrupted before c2, gap"
    assert err.splitlines()[-2:] == ["wrote points-2.arrow, points-2.png and points-2.svg", "interrupted"]
    assert (tmp_path / "points.arrow").read_text() == "what was whole"
    embedding = store.read_embedding(tmp_path / "points-2.arrow")
    assert (list(embedding), embedding.provenance["partial"]) == (["c1"], ["c2", "gap"])
