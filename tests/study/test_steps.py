"""What the study consists of."""

import sys

import pytest

from streamspread.errors import MissingError, ModelError, OptionError
from streamspread.models.plans import parse_plan
from streamspread.study.steps import DEPTHS, NETWORKS, PARTS, TrainingSpec, check, fewer, steps


def test_the_whole_study_has_a_result_of_its_own_for_every_step():
    all_steps = steps(NETWORKS, tuple(PARTS), 2000, 8)
    assert len({step.name for step in all_steps}) == len(all_steps)
    assert list(dict.fromkeys(step.part for step in all_steps)) == list(PARTS)
    assert [step.name for step in all_steps if step.part == "networks"] == ["no1", "no2", "no3", "no4"]
    assert [(step.name, step.samples) for step in all_steps if step.part == "samples"][:3] == [
        ("no1-n500", 500),
        ("no1-n1000", 1000),
        ("no2-n500", 500),
    ]


@pytest.mark.parametrize(
    ("samples", "numbers"),
    [
        (2, []),
        (500, []),
        (599, []),
        (600, [500]),
        (1000, [500]),
        (50_000, [500, 1000, 2000, 4000, 8000, 16_000, 32_000]),
    ],
)
def test_numbers_of_images_double_below_all(samples, numbers):
    assert fewer(samples) == numbers


@pytest.mark.parametrize(
    ("parts", "numbers"),
    [
        (["samples"], [500, 1000, 1500]),
        (["samples", "latent"], [500, 1000, 1500]),
        (["networks", "samples"], [500, 1000]),
    ],
)
def test_k_over_n_ends_at_all_images(parts, numbers):
    some_steps = steps(["no1"], parts, 1500, 4)
    assert [step.samples for step in some_steps if step.part == "samples"] == numbers


def test_every_tap_of_the_networks_and_the_paper_s_elsewhere():
    layers = {step.name: step.layers for step in steps(["no1"], tuple(PARTS), 1000, 4)}
    assert layers["no1"] == ("all", "*.bn", "*.relu")
    assert layers["no1-n500"] == ("all",)


def test_depths_differ_in_nothing_but_convolutions():
    for depth, plan in DEPTHS.items():
        parsed = parse_plan(plan)
        assert len(parsed) - parsed.count("M") == depth
        assert parsed.count("M") == 2
        stages = " ".join("M" if step == "M" else str(step) for step in parsed).split("M")
        assert [set(stage.split()) for stage in stages] == [{"32"}, {"64"}, {"128"}]


def test_trainings_differ_in_length_and_smoothing():
    some_steps = [step for step in steps(["no1", "no2"], ["training"], 100, 8)]
    assert [str(step.training) for step in some_steps] == [
        "untrained",
        "2epochs",
        "8epochs",
        "8epochs-smoothing0.1",
        "32epochs",
        "32epochs-smoothing0.1",
    ]
    assert {step.model for step in some_steps} == {"no1"}
    assert {step.model for step in steps(["no2"], ["training"], 100, 8)} == {"no2"}


def test_without_epochs_nothing_is_trained():
    some_steps = steps(["no1"], ["depth", "training"], 100, 0)
    assert {step.training for step in some_steps} == {TrainingSpec(0)}
    assert [step.name for step in some_steps] == [*(f"depth{n}" for n in (4, 6, 8, 10, 14)), "no1-untrained"]


def test_no_more_than_ten_thousand_points():
    assert [step.samples for step in steps(["no1"], ["latent"], 50_000, 1)] == [10_000]
    assert [step.samples for step in steps(["no1"], ["latent"], 700, 1)] == [700]


@pytest.mark.parametrize(
    ("models", "parts", "error", "words"),
    [
        (["no1"], ["network"], OptionError, "unknown part 'network': choose from all, networks, samples"),
        (["no1"], [], OptionError, "name at least one part"),
        ([], ["networks"], OptionError, "name at least one model"),
        (["no9"], ["networks"], ModelError, "unknown reference network 'no9', did you mean"),
        (["torchvision:resnet18"], ["networks"], ModelError, "unknown reference network"),
        (["4,M,6"], ["networks"], ModelError, "unknown model '4,M,6', did you mean 'plan:4,M,6'"),
    ],
)
def test_nonsense_is_refused(models, parts, error, words):
    with pytest.raises(error, match=words):
        steps(models, parts, 100, 4)
    with pytest.raises(error, match=words):
        check(models, parts)


def test_what_t_sne_needs_is_said_before_anything_is_done(monkeypatch):
    words = "perplexity 30 needs more than 90 samples, and there are 90: take more --samples, or leave latent"
    with pytest.raises(OptionError, match=words):
        steps(["no1"], ["networks", "latent"], 90, 4)
    assert len(steps(["no1"], ["latent"], 91, 4)) == 1
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingError, match="t-SNE needs openTSNE"):
        check(["no1"], ["networks", "latent"])
    check(["no1"], ["networks"])
