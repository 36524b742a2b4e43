"""Tables as they are seen: at every width, on a terminal and in a pipe, and never a number cut."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import streamspread
from streamspread import store
from streamspread.accumulators.base import Candidate, LayerShape
from streamspread.engine.plan import LayerPlan, PassPlan, Plan
from streamspread.observe.taps import TapInfo
from streamspread.reports import text
from streamspread.reports.plan_table import print_layers, print_plan
from streamspread.reports.spectra_table import print_spectra
from streamspread.results.growth import Growth, Point
from streamspread.results.interval import Interval
from streamspread.results.spectra import Spectra
from tests.consoles import rendered, rows
from tests.spectra import layer, wide_layer

MANY = (0.5, 0.7, 0.8, 0.9)


def closed(name="c2", **changes):
    return layer(name, **({"eigenvalues": (5.0, 2.0, 2.0, 1.0), "samples": 10} | changes))


def test_a_row_says_everything_of_a_layer():
    output = rendered(print_spectra, Spectra([wide_layer()]))
    header, _, row = rows(output)[1:4]
    names = [
        "layer",
        "shape",
        "D",
        "N",
        "K at most",
        "K(0.7)",
        "spread",
        "K of K at most",
        "participation ratio",
        "method",
        "passes",
        "seconds",
        "peak",
    ]
    assert header == names
    assert row == [
        "c1",
        "64×32×32",
        "65,536",
        "50,000",
        "49,999",
        "611…616",
        "0.932…0.940 %",
        "1.22…1.23 %",
        text.number(wide_layer().participation_ratio),
        "covariance fp16",
        "1",
        "0.312",
        "9.00 GiB",
    ]


def test_a_closed_interval_is_one_number():
    output = rendered(print_spectra, Spectra([closed()]))
    assert rows(output)[3][:7] == ["c2", "4", "4", "10", "4", "2", "50.0 %"]
    assert "closed: every K is one value, not a range, proved for these 10 images, not for more" in output


def test_a_range_is_explained_and_told_how_to_close():
    output = rendered(print_spectra, Spectra([wide_layer(), closed(), wide_layer("c3")], (0.3, 0.7)))
    assert "not closed: c1, c3 (τ = 0.7)" in output
    assert "to close it: run with these --thresholds, or with --all-eigenvalues" in output
    assert "closed: every K" not in output


def test_how_to_close_depends_on_what_was_run():
    without_proof = rendered(print_spectra, Spectra([wide_layer()], provenance={"options": {"proof": False}}))
    assert "to close it: run without --no-proof, or with these --thresholds, or" in without_proof
    sketch = rendered(print_spectra, Spectra([wide_layer(method="sketch")]))
    assert "to close it: run with these --thresholds, or with a larger --rank" in sketch
    both = rendered(print_spectra, Spectra([wide_layer(), wide_layer("c2", method="sketch")]))
    assert "or with --all-eigenvalues, or with a larger --rank" in both
    options = {"options": {"thresholds": [0.7]}}
    these = rendered(print_spectra, Spectra([wide_layer(method="sketch")], provenance=options))
    assert "to close it: run with a larger --rank" in these
    rounded = rendered(print_spectra, Spectra([wide_layer(complete=True)]))
    assert rounded.strip().endswith("to close it: run with --rounding fp64")


def test_layers_that_are_limited_by_the_number_of_images_are_named():
    noise = closed("noise", eigenvalues=np.ones(63), dim=512, samples=64)
    output = rendered(print_spectra, Spectra([noise, closed(samples=1000)], (0.3, 0.7)))
    assert "limited by the number of images: noise (τ = 0.3, 0.7): too few to tell" in output
    assert "limited" not in rendered(print_spectra, Spectra([closed(samples=1000)]))


def estimated(name="c1", thresholds=(0.7,), **changes):
    points = [
        Point(tau, n, parts, 1 / 200 + 0.5 / n, 0.0, 0.5)
        for tau in thresholds
        for n, parts in ((1000, 1), (250, 4), (125, 8))
    ]
    fields = {"eigenvalues": np.ones(260), "dim": 5000, "growth": Growth(tuple(points))}
    return layer(name, **(fields | changes))


def test_estimates_have_a_column_of_their_own_and_are_called_so():
    noise = [Point(0.7, n, parts, 1 / n, 0.0, 0.5) for n, parts in ((1000, 1), (250, 4), (125, 8))]
    layers = [estimated(), estimated("c2", growth=Growth(tuple(noise))), wide_layer("c3", method="sketch")]
    lines = rows(rendered(print_spectra, Spectra(layers)))
    assert lines[1] == ["K at ∞: of infinitely many images (estimated, not proved)"]
    column = lines[2].index("K(0.7) at ∞")
    assert lines[2][column - 1] == "K(0.7)"
    assert [line[column] for line in lines[4:7]] == ["201 ± 2", "≥ 1,000", "–"]
    output = rendered(print_spectra, Spectra(layers))
    assert "no estimate at ∞: c3 (sketch)" in output
    assert "limited by the number of images: c2 (τ = 0.7)" in output


def test_other_thresholds_than_those_of_the_run_have_no_estimate():
    output = rendered(print_spectra, Spectra([estimated()], (0.7, 0.8)))
    assert "no estimate at ∞ at τ = 0.8: run with these --thresholds" in output
    row = dict(zip(*(rows(output)[line] for line in (2, 4)), strict=False))
    assert (row["K(0.7)"], row["K(0.7) at ∞"], row["spread(0.7)"]) == ("182", "201 ± 2", "3.64 %")
    assert (row["K(0.8)"], row["K(0.8) at ∞"]) == ("208", "–")


@pytest.mark.parametrize("thresholds", [(0.7,), MANY], ids=str)
def test_a_narrow_terminal_loses_estimates_before_k(thresholds):
    spectra = Spectra([estimated("features.12.a.long.name", thresholds)], thresholds)
    assert "at ∞" in " ".join(rows(rendered(print_spectra, spectra, 200))[2])
    narrow = rows(rendered(print_spectra, spectra, 62))[2]
    assert not [name for name in narrow if "∞" in name]
    assert [name for name in narrow if name.startswith("K(")]


def test_a_constant_layer_is_called_so():
    dead = closed("dead", eigenvalues=np.zeros(4))
    output = rendered(print_spectra, Spectra([dead]))
    assert rows(output)[3][5:7] == ["0", "constant"]
    assert "constant (the same for every image, so no component is needed): dead" in output


def test_title_and_notes_stand_above_the_table():
    facts = {"title": "no1 · random weights · noise · cpu", "notes": ["[b]no CIFAR-10[/b]: patches instead"]}
    lines = rendered(print_spectra, Spectra([closed()], provenance=facts)).splitlines()
    assert lines[:2] == ["no1 · random weights · noise · cpu", "note: [b]no CIFAR-10[/b]: patches instead"]


def test_names_that_look_like_markup_stay_as_they_are():
    output = rendered(print_spectra, Spectra([closed("blocks[0].:smile:[bold]")]))
    assert "blocks[0].:smile:[bold]" in output


def test_no_layers_is_said():
    assert rendered(print_spectra, Spectra([])) == "0 layers\nno layers\n"


@pytest.mark.parametrize("thresholds", [(0.7,), (0.5, 0.9), MANY], ids=str)
@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(width, thresholds):
    spectra = Spectra([wide_layer(), closed(), wide_layer("features.12")], thresholds)
    output = rendered(print_spectra, spectra, width)
    assert max(map(len, output.splitlines())) <= width
    for spectrum in spectra.values():
        assert spectrum.layer in output
        assert f"{spectrum.dim:,}" in output
        for tau in thresholds:
            assert text.interval(spectrum.components(tau)) in output
            assert text.percent(spectrum.spread(tau)) in output


def test_a_narrow_terminal_loses_the_least_needed_columns_first():
    spectra = Spectra([wide_layer()])
    kept = {width: rows(rendered(print_spectra, spectra, width))[1] for width in (200, 80, 60)}
    assert kept[200][-3:] == ["passes", "seconds", "peak"]
    assert "K at most" in kept[200]
    assert kept[80] == ["layer", "shape", "D", "N", "K(0.7)", "spread", "method"]
    assert kept[60] == ["layer", "D", "K(0.7)", "spread", "method"]


def test_many_thresholds_get_a_row_each_where_they_do_not_fit_beside_each_other():
    lines = rows(rendered(print_spectra, Spectra([wide_layer(), closed()], MANY), 80))
    assert lines[1] == ["layer", "shape", "D", "τ", "K(τ)", "spread", "method"]
    assert lines[3][:4] == ["c1", "64×32×32", "65,536", "0.5"]
    assert [line[0] for line in lines[4:7]] == ["0.7", "0.8", "0.9"]
    assert lines[7][:4] == ["c2", "4", "4", "0.5"]


def test_far_too_narrow_a_terminal_still_gets_every_digit():
    output = rendered(print_spectra, Spectra([wide_layer()]), 20)
    assert "65,536" in output
    assert "611…616" in output


def test_a_pipe_gets_every_column_on_one_line_and_no_colour():
    facts = {"title": "a title that is longer than eighty columns " * 3}
    output = rendered(print_spectra, Spectra([wide_layer()], MANY, facts), width=80, terminal=False)
    assert "\x1b" not in output
    lines = output.splitlines()
    assert lines[0].strip() == facts["title"].strip()
    assert "K(0.9)" in lines[1]
    assert "9.00 GiB" in lines[3]


def plan(samples=50_000, source_dim=None):
    def one(name, dim, passes, rejected=()):
        candidate = Candidate(
            method="gram",
            passes=len(passes),
            state_bytes=3 * 2**30,
            finish_bytes=2**30,
            operations=2.147e14,
            exact=True,
            order=0,
            why=f"because of {name}",
            make=partial(dict),
        )
        shape = LayerShape(name, (dim,), dim, 0.0, source_dim if name == "c1" else None)
        return LayerPlan(shape, candidate, samples, "fp16", passes, rejected)

    return Plan(
        layers=(one("c1", 65_536, (0, 1, 2), ("covariance: needs 17.0 GiB",)), one("c2", 512, (1,))),
        passes=tuple(
            PassPlan(i, ("c1", "c2") if i == 1 else ("c1",), "c2" if i == 1 else "c1", 2**31)
            for i in range(3)
        ),
        device="cuda:0",
        budget=8 * 2**30,
        batch_size=500,
        samples=samples,
    )


def test_a_plan_says_what_would_run_and_why():
    output = rendered(print_plan, plan())
    lines = rows(output)
    assert lines[0][:6] == ["layer", "shape", "D", "N", "K at most", "method"]
    assert lines[0][6:] == ["in pass", "memory", "operations"]
    assert lines[2][:6] == ["c1", "65536", "65,536", "50,000", "49,999", "gram fp16"]
    assert lines[2][6:] == ["1–3", "4.00 GiB", "215 TFLOP"]
    assert (lines[3][4], lines[3][6]) == ("512", "2")
    assert "c1: because of c1; rejected covariance: needs 17.0 GiB" in output
    assert "c2: because of c2\n" in output
    assert "pass 2 of 3, cut off after c2: c1, c2 (2.00 GiB)" in output
    assert "50,000 samples in batches of 500 on cuda:0: peak 2.00 GiB of a budget of 8.00 GiB" in output


def test_a_plan_for_data_of_unknown_length_says_so():
    output = rendered(print_plan, plan(samples=None))
    assert rows(output)[2][3:5] == ["?", "65,536"]
    assert "an unknown number of samples in batches of 500" in output
    assert "limited" not in output


@pytest.mark.parametrize(
    ("samples", "source_dim", "most", "limited"),
    [
        (50_000, None, ["49,999", "512"], "c1"),
        (50_000, 3072, ["3,072", "512"], None),
        (3073, 3072, ["3,072", "512"], None),  # so many images show every direction
        (3072, 3072, ["3,071", "512"], "c1"),
        (513, None, ["512", "512"], "c1"),
        (512, 3072, ["511", "511"], "c1, c2"),
        (65_537, None, ["65,536", "512"], None),
    ],
)
def test_a_plan_says_what_k_can_be_at_most_and_where_images_are_what_limits_it(
    samples, source_dim, most, limited
):
    output = rendered(print_plan, plan(samples, source_dim))
    assert [row[4] for row in rows(output)[2:4]] == most
    notes = [line for line in output.splitlines() if line.startswith("limited by the number of samples: ")]
    span = f"{samples:,} of them span at most {samples - 1:,} directions, and these layers have more"
    assert notes == ([f"limited by the number of samples: {limited}: {span}"] if limited else [])


def test_layers_are_listed_with_shape_and_dim():
    tap = TapInfo(
        name="c1",
        module="c1",
        call=1,
        kind="Conv2d",
        shape=(64, 32, 32),
        dim=65_536,
        itemsize=4,
        channels_last=False,
        operations=1.0,
        observable=True,
        axes="NCHW",
    )
    listed = rows(rendered(print_layers, [tap, replace(tap, name="c2", axes="")]))
    assert listed[2] == ["c1", "64×32×32", "65,536", "NCHW", "Conv2d"]
    assert listed[3][3] == "?"


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ((0.0, 0.0), "0 %"),
        ((1 / 65_536, 1 / 65_536), "0.00153 %"),
        ((1e-9, 1e-9), "0.000000100 %"),
        ((0.00368, 0.00368), "0.368 %"),
        ((0.1234, 0.1234), "12.3 %"),
        ((0.99999, 0.99999), "100 %"),
        ((1.0, 1.0), "100 %"),
        ((0.0092, 0.0104), "0.920…1.04 %"),
        ((4 / 128, 4 / 128), "3.13 %"),  # as the page's script rounds it
        ((1 / 4, 1 / 4), "25.0 %"),
        ((0.09996, 0.09996), "10.0 %"),
        ((0.99996, 0.99999), "100 %"),
    ],
)
def test_shares_have_three_digits_and_no_exponent(share, expected):
    assert text.percent(Interval(*share)) == expected


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (text.size, 0, ""),
        (text.size, 512, "512 B"),
        (text.size, 1000, "0.977 KiB"),
        (text.size, 9_000_000_000, "8.38 GiB"),
        (text.size, 5 * 2**50, "5120 TiB"),
        (text.seconds, float("nan"), ""),
        (text.seconds, 0.32, "0.320"),
        (text.seconds, 12.34, "12.3"),
        (text.seconds, 4321, "4,321"),
        (text.cosine, float("nan"), "–"),
        (text.cosine, -0.0124, "−0.012"),
        (text.cosine, -0.0004, "0.000"),
    ],
)
def test_numbers_have_three_digits_or_decimals(write, value, expected):
    assert write(value) == expected


def test_fractions_have_as_many_digits_as_tell_them_apart():
    assert text.fractions((0.7, 0.95, 1.0)) == ["0.7", "0.95", "1"]
    assert text.fractions((0.7, 0.70000001)) == ["0.7", "0.70000001"]
    assert text.fractions((0.7, 0.7)) == ["0.7", "0.7"]
    close = (0.3, 0.1 + 0.2)
    assert text.fractions(close) == ["0.3", "0.30000000000000004"]


def test_notes_that_were_read_already_are_left_out():
    spectra = Spectra(
        [closed()], provenance={"title": "no1", "notes": ["said before", "new"], "seconds": 75.0}
    )
    said = rendered(lambda what, console: print_spectra(what, console, said=["said before"]), spectra)
    assert "note: new" in said
    assert "said before" not in said
    assert said.rstrip().splitlines()[-1].startswith("took 75 s")
    assert "note: said before" in rendered(print_spectra, spectra)


@pytest.mark.parametrize(("called", "each"), [("texts", "text"), ("samples", "sample")])
def test_samples_are_called_what_they_are(called, each, tmp_path):
    x = torch.cat([torch.randn(600, 8), torch.ones(600, 1)], 1)
    model = torch.nn.Sequential(torch.nn.Linear(9, 9), torch.nn.Identity()).eval()
    model[1].forward = lambda y: y * 0 + 1
    spectra = streamspread.analyze(model, x, "*", thresholds=(0.9,), method="gram")
    assert spectra.provenance["samples_are"] == "samples"
    found = Spectra(spectra.values(), spectra.thresholds, {**spectra.provenance, "samples_are": called})
    output = rendered(print_spectra, found)
    assert f"proved for these 600 {called}, not for more" in output
    assert f"K at ∞: of infinitely many {called}" in output
    assert f"constant (the same for every {each}, so" in output
    plan = replace(streamspread.plan(model, x, "0"), called=called)
    assert f"600 {called} in batches of" in rendered(print_plan, plan)
    store.write(found, tmp_path / "r.arrow")
    page = streamspread.report(tmp_path / "r.arrow", tmp_path).read_text()
    assert f"these {{images}} {called}, not for more" in page
    assert "image" not in re.sub(r"(?s)<script.*?</script>|data:image|<style.*?</style>", "", page)
