"""A run that several processes keep goes on on any number of them, to the same bits, whenever it ended."""

from dataclasses import replace

import pytest

from streamspread.engine.planning import check_fewer, plan_for
from streamspread.errors import BudgetError
from streamspread.observe.observed import observing
from streamspread.options import Options
from streamspread.system.devices import CPU
from tests.kept import CASES, SIZE
from tests.networks import network
from tests.worlds import assert_same, came, one_line, results


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What every case came to, by name and rank."""
    return came("tests.kept", SIZE, tmp_path_factory.mktemp("kept"), CASES, [0] * SIZE)


# By name: how many ranks go on in turn, how many were undisturbed, and whether all bits are alike.
RUNS = [
    ("served", "2 1 3", 1, False),  # each number of ranks has an eigenvalue step of its own
    ("int16", "3 1 2", 1, True),
    ("gram", "2", 2, True),
    ("gram", "3 1 2", 1, False),
    ("gram int16", "2 1 3", 1, True),
    ("tiles at int16", "2", 2, True),
    ("served grams", "2 1 3", 1, False),
    ("sketch", "2", 2, True),
    ("sketch", "2 1 3", 1, False),
    ("narrow", "2 1 3", 1, True),
    ("places", "2 1 3", 1, True),
    ("directions", "2 1 3", 1, True),
    ("directions of grams", "2", 2, True),
    ("directions of grams", "2 1 3", 1, False),
    ("a twin", "2 1 3", 1, True),
    ("overflow", "2 1 3", 1, True),
    ("read again", "2 1 3", 1, True),
    ("stateful", "2 1 3", 1, True),
    ("texts", "2 1 3", 1, True),
    ("classes", "2 1 3", 1, False),
]


@pytest.mark.parametrize(("name", "by", "size", "exactly"), RUNS)
def test_a_run_that_is_ended_again_and_again_goes_on_on_any_number_of_ranks(world, name, by, size, exactly):
    whole, *_ = results(world, f"{name} on {size}")
    for done in results(world, f"{name} by {by}"):
        assert done["ends"] >= 3
        assert_same(whole["seen"], done["seen"], exactly)
        assert done["facts"]["data_seen"] == whole["facts"]["data_seen"]
        assert done["twin"] == whole["twin"]


def test_sums_of_covariances_have_all_bits_whoever_went_on(world):
    whole, done = results(world, "served on 1")[0], results(world, "served by 2 1 3")[0]
    assert done["hashes"] == whole["hashes"]
    assert done["hashes"].keys() == {"c3", "c5"}


@pytest.mark.parametrize(("name", "by"), [(name, by) for name, by, *_ in RUNS])
def test_no_file_is_left_but_those_of_the_last_moment(world, name, by):
    done = results(world, f"{name} by {by}")[0]
    sizes = [int(size) for size in by.split()]
    own = [one for one in done["files"] if not one.startswith("run.twin")]
    assert len(own) == sizes[done["ends"] % len(sizes)], done["files"]


def test_data_that_know_their_place_are_not_read_again(world):
    notes = results(world, "stateful by 2 1 3")[0]["facts"]["notes"]
    assert any(note.startswith("resumed from a checkpoint") for note in notes)
    assert not any("was read again" in note for note in notes)
    assert any(
        "was read again" in note for note in results(world, "read again by 2 1 3")[0]["facts"]["notes"]
    )


@pytest.mark.parametrize(
    ("name", "error", "line"),
    [
        ("without one", "StoreError", "was kept by 2 ranks, and 'run.rank-1-of-2."),
        ("of another moment", "StoreError", "is damaged (it is of another moment)"),
        ("a bit flipped", "StoreError", "is damaged (the checksum of "),
        ("another place", "RanksError", "rank 1 was given something else than rank 0: option checkpoint is"),
        ("other options", "StoreError", "is of another run: option seed was 0, and is 1"),
    ],
)
def test_what_does_not_fit_is_one_line_on_all_ranks(world, name, error, line):
    raised, said = one_line(world, name, SIZE)
    assert raised == error
    assert line in said
    assert "\n" not in said


def test_a_disk_that_is_full_at_one_rank_ends_no_run_and_leaves_nothing(world):
    whole = results(world, "read again on 1")[0]
    for done in results(world, "a full disk"):
        assert_same(whole["seen"], done["seen"], True)
        (note,) = done["facts"]["notes"]
        assert note.startswith("a checkpoint was not kept: cannot write ")
        assert done["files"] == []


def test_what_an_end_left_goes_and_nothing_else(world):
    for found in results(world, "left by an end"):
        assert found == [False, True]


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
def test_a_signal_at_one_rank_keeps_all_and_has_its_effect_on_all(world, name):
    whole = results(world, "read again on 1")[0]
    for done in results(world, name):
        assert done["came"] == [True, True, False]
        if "seen" in done:
            assert_same(whole["seen"], done["seen"], True)
            assert any("resumed from a checkpoint" in note for note in done["facts"]["notes"])


def test_fewer_ranks_than_began_need_the_memory():
    model, x = network("mlp", 100)
    options = Options(layers="*", method="covariance", batch_size=10)
    with observing(model, x, options, replace(CPU, panel_rows=8)) as alone:
        of_eight = replace(alone, shares=8)
        plan = plan_for(of_eight, options, alone.taps, "fp32")
        check_fewer(alone, options, plan, 0)  # no fewer than began
        check_fewer(of_eight, options, plan, 1 << 30)
        with pytest.raises(
            BudgetError, match=r"8 ranks began this run, and each of 1 would need .* go on with"
        ):
            check_fewer(of_eight, options, plan, plan.peak_bytes)
