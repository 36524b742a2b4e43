"""Which method a layer gets, and why not the others, in words with numbers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from streamspread.accumulators.methods.sketch import Sketch
from streamspread.errors import OptionError
from streamspread.options import Options
from streamspread.streams.labels import Labels
from streamspread.system.memory import format_bytes, parse_bytes
from tests.shapes import CPU, CUDA, GIB, layer, planned


@pytest.mark.parametrize(
    ("dim", "samples", "method"),
    [
        (65536, 1000, "gram"),
        (65536, 5000, "gram"),
        (256, 50_000, "covariance"),
        (4096, 50_000, "covariance"),
        (16384, 50_000, "covariance"),
        (16384, 5000, "gram"),
        (3, 2, "gram"),
    ],
)
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_shorter_side_is_chosen(dim, samples, method, device):
    chosen = planned([layer(dim)], samples, 60 * GIB, device).layers[0]
    assert chosen.method == method
    other = {"gram": "covariance", "covariance": "gram"}[method]
    reason = next(text for text in chosen.rejected if text.startswith(other))
    assert re.fullmatch(rf"{other}: [\d,]+(\.\d)?× the work", reason)
    assert float(re.search(r"([\d.]+)×", reason)[1]) >= 1.0


def test_a_plan_says_why_in_words_with_numbers():
    gram = planned([layer(65536)], 5000, 20 * GIB).layers[0]
    assert re.fullmatch(r"inner products of 5,000 samples from 2 tiles of 32,768 features", gram.why)
    covariance = planned([layer(256)], 5000, 20 * GIB).layers[0]
    size = format_bytes(covariance.state_bytes)
    assert covariance.why == f"the triangle of 256² and its staging take {size}, in one pass"


def test_a_method_that_does_not_fit_is_rejected_with_what_it_needs():
    chosen = planned([layer(4096)], 50_000, GIB).layers[0]
    assert chosen.method == "covariance"
    reason = next(text for text in chosen.rejected if text.startswith("gram"))
    need = parse_bytes(re.fullmatch(r"gram: needs (\w+)", reason)[1])
    assert need > GIB
    assert planned([layer(4096)], 50_000, need, method="gram").layers[0].method == "gram"


def test_a_method_can_be_forced_and_the_others_say_so():
    for method in ("covariance", "gram"):
        chosen = planned([layer(2000)], 700, GIB, method=method).layers[0]
        assert chosen.method == method
        other = {"gram": "covariance", "covariance": "gram"}[method]
        assert f"{other}: {method} was asked for" in chosen.rejected


def test_unknown_methods_and_roundings_are_refused():
    with pytest.raises(OptionError, match=r"method 'magic' is unknown: choose from auto, covariance, gram"):
        Options(method="magic")
    with pytest.raises(
        OptionError, match=r"rounding 'fp8' is unknown: choose from auto, fp16, bf16, fp32, fp64"
    ):
        Options(rounding="fp8")


def test_without_a_number_of_samples_only_one_pass_methods_are_to_be_had():
    chosen = planned([layer(3000)], None, GIB).layers[0]
    assert chosen.method == "covariance"
    assert "gram: the number of samples is not known before the pass" in chosen.rejected
    with pytest.raises(
        OptionError, match=r"layer c1: gram: the number of samples is not known .*, or choose another method"
    ):
        planned([layer(3000)], None, GIB, method="gram")


def test_both_sides_long_is_a_sketch_and_the_exact_methods_say_what_they_would_cost():
    chosen = planned([layer(65536)], 60_000, 24 * GIB).layers[0]
    assert (chosen.method, chosen.passes) == ("sketch", 3)
    assert chosen.why == "at most 1,024 directions of 65,536, in at most 3 passes: a proved interval"
    assert {text.split(":")[0] for text in chosen.rejected} == {"covariance", "gram"}
    for text in chosen.rejected:
        assert float(re.search(r"([\d.]+)×", text)[1]) > 2.0


def test_where_an_exact_method_takes_less_than_twice_the_work_it_is_preferred():
    chosen = planned([layer(32768)], 50_000, 60 * GIB, estimate=False).layers[0]
    assert chosen.method == "covariance"
    share = float(re.search(r"sketch: ([\d.]+)× the work", "; ".join(chosen.rejected))[1])
    assert 0.5 <= share < 1.0


def test_layers_that_were_unfit_once_get_an_exact_method_whatever_its_work_where_one_fits():
    def chosen(budget, **options):
        return planned([layer(65536)], 60_000, budget, **options).layers[0].candidate

    assert not chosen(24 * GIB).exact
    again = chosen(24 * GIB, exact=True)
    assert again.exact
    assert again.operations > 2.0 * chosen(24 * GIB).operations
    assert chosen(24 * GIB, exact=True, method="sketch").method == "sketch"
    assert chosen(4 * GIB, exact=True).method == "sketch"


def test_a_pass_for_scores_is_as_usual_as_those_before_it(monkeypatch):
    offered = Sketch.candidate
    monkeypatch.setattr(Sketch, "candidate", lambda *given: replace(offered(*given), usual_passes=1))
    options = {"method": "sketch", "directions": 3}
    (plain,) = planned([layer(3000)], 5000, GIB, **options).layers
    (scored,) = planned([layer(3000)], 5000, GIB, scores=True, **options).layers
    assert (plain.usual_indices, scored.usual_indices) == ((0,), (0, 1))
    assert len(scored.pass_indices) == len(plain.pass_indices) + 1 > 2


def test_a_sketch_of_data_that_cannot_be_read_again_has_one_pass_and_yields_to_any_exact_method():
    for again in ({"repeatable": False}, {"ordered": False}):
        chosen = planned([layer(30_000)], None, 8 * GIB, **again).layers[0]
        assert chosen.method == "covariance"
        only = planned([layer(300_000)], None, 8 * GIB, **again).layers[0]
        assert (only.method, only.passes) == ("sketch", 1)


def test_classes_are_worth_an_exact_method_wherever_one_fits():
    labels = Labels(np.arange(50_000) % 2, ("a", "b"))
    for samples in (20_000, 50_000):
        case = {"rounding": "int16", "thresholds": (0.5,)}
        assert planned([layer(65536)], samples, 60 * GIB, **case).layers[0].method == "sketch"
        told = planned([layer(65536)], samples, 60 * GIB, labels=labels, **case).layers[0]
        assert told.candidate.exact
        told = planned([layer(65536)], samples, 60 * GIB, labels=labels, method="sketch", **case).layers[0]
        assert told.method == "sketch"
