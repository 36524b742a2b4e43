"""Plans: what is accepted, what is refused and what the refusal says."""

import pytest
import torch

from streamspread.errors import ModelError
from streamspread.models.plans import MOST_CHANNELS, PLANS, find_plan, format_plan, parse_plan


def test_a_plan_is_read_from_commas_spaces_and_sequences():
    wanted = (64, 64, "M", 128)
    assert parse_plan("64,64,M,128") == wanted
    assert parse_plan(" 64 64 m, 128 ") == wanted
    assert parse_plan([64, "64", "M", 128]) == wanted
    assert format_plan(wanted) == "64,64,M,128"


def test_reference_plans_have_six_convolutions_and_are_in_their_written_form():
    for plan in PLANS.values():
        steps = parse_plan(plan)
        assert len(steps) - steps.count("M") == 6
        assert format_plan(steps) == plan


@pytest.mark.parametrize("step", ["0", "-3", "6.5", "x", "", "²", True, 0, None])
def test_a_step_that_is_no_width_and_no_pool_is_named(step):
    with pytest.raises(ModelError, match="neither a positive number of channels nor M"):
        parse_plan([8, step])


@pytest.mark.parametrize("step", [MOST_CHANNELS + 1, "999999999", "99999999999999999999", "9" * 5000])
def test_more_channels_than_any_memory_holds_are_refused(step):
    with pytest.raises(ModelError, match=rf"\Aplan '8,{step}' has {step} channels; use at most 8,192\Z"):
        parse_plan(f"8,{step}")
    assert parse_plan([MOST_CHANNELS]) == (MOST_CHANNELS,)


@pytest.mark.parametrize("plan", ["M", "M,M", ()])
def test_a_plan_needs_a_convolution(plan):
    with pytest.raises(ModelError, match="has no convolution"):
        parse_plan(plan)


@pytest.mark.parametrize("plan", [3, 1.5, None, torch.device("cpu"), object()])
def test_what_is_neither_a_text_nor_a_sequence_is_no_plan(plan):
    kind = type(plan).__name__
    with pytest.raises(ModelError, match=rf"a plan is a text or a sequence, not of type {kind}\Z"):
        parse_plan(plan)


def test_pooling_may_reach_one_pixel_but_not_zero():
    assert parse_plan("4,M,M,M,M,M").count("M") == 5
    with pytest.raises(ModelError, match=r"pools 6 times: of 32 pixels, use at most 5 M"):
        parse_plan("4,M,M,M,M,M,M")


def test_a_mistyped_name_gets_the_nearest_one():
    with pytest.raises(ModelError, match=r"unknown reference network 'no11', did you mean 'no1'\?"):
        find_plan("no11")
