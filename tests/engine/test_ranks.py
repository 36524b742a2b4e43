"""Several processes share an analysis: the sums and answers of one, one line for every error, no hang."""

import pickle

import numpy as np
import pytest
import torch

from streamspread.ranks import ALONE, Ranks, bounds_of, dealt
from streamspread.results.directions import Directions
from tests.worlds import CASES, METHODS, WAYS, assert_same, came, one_line, results

SIZE = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What every case came to, by name and rank."""
    folder = tmp_path_factory.mktemp("world")
    return came("tests.worlds", SIZE, folder, CASES, [-9, *[0] * (SIZE - 1)])


@pytest.mark.parametrize("size", [2, 3, 5])
def test_sums_have_the_bits_of_one_process_and_the_eigenvalue_step_agrees(world, size):
    (one,) = results(world, "served on 1")
    several = results(world, f"served on {size}")
    assert len(several) == size
    assert one["hashes"].keys() == {"c3", "c5"}
    assert several[0]["hashes"] == one["hashes"]
    assert all(not other["hashes"] for other in several[1:])  # the first one leads
    for other in several:
        assert_same(one["seen"], other["seen"])
        assert other["facts"] == several[0]["facts"]
        assert other["facts"]["data_seen"] == one["facts"]["data_seen"]
        assert other["facts"]["ranks"] == size


@pytest.mark.parametrize(
    ("kind", "size", "exactly"),
    [
        *(("int16", size, True) for size in (2, 3, 5)),
        ("gram", 4, False),
        ("gram int16", 3, True),
        ("served grams", 3, False),
        *(("sketch", size, False) for size in (2, 3, 5)),
        *(("open sketch", size, False) for size in (2, 3, 5)),
        ("directions of sketches", 4, False),
        *(
            (f"{kind} of {method}", 4, False)
            for kind in ("ranks without a batch", "fewer columns than ranks", "overflow in one column")
            for method in METHODS
        ),
        ("places", 4, True),
        ("directions", 4, True),
        ("directions of grams", 4, False),
        ("a twin", 2, True),
        ("overflow", 4, True),
        ("unfit", 4, True),
        ("batches", 3, False),
        ("an iterator", 3, True),
        ("texts", 3, True),
        ("classes", 3, False),
        ("scatter of classes", 3, False),
    ],
)
def test_every_way_gives_what_one_process_gives(world, kind, size, exactly):
    (one,), several = results(world, f"{kind} on 1"), results(world, f"{kind} on {size}")
    assert len(several) == size
    for other in several:
        assert_same(one["seen"], other["seen"], exactly)
        assert other["twin"] == one["twin"]
    for name, a in one["seen"].items():
        for b in (other["seen"][name] for other in several):
            if isinstance(a["leading"], Directions):
                turned = a["leading"].vectors_KD @ b["leading"].vectors_KD.T
                assert np.allclose(np.abs(np.diag(turned)), 1.0, atol=1e-5)
                assert a["leading"].scores_NK is None or np.allclose(
                    a["leading"].scores_NK, b["leading"].scores_NK, atol=1e-4
                )


@pytest.mark.parametrize("kind", ["sketch", "open sketch", "directions of sketches"])
def test_intervals_of_shared_columns_hold_the_true_number_and_are_one_on_all_ranks(world, kind):
    (exact,) = results(world, "served on 1")
    for size in (1, 2, 3, 4, 5):
        if (name := f"{kind} on {size}") not in CASES:
            continue
        first, *others = results(world, name)
        assert all(pickle.dumps(other["seen"]) == pickle.dumps(first["seen"]) for other in others)
        for layer, one in first["seen"].items():
            bounds = zip(one["K"], exact["seen"][layer]["K"], strict=True)
            assert all(low <= true <= high for (low, high), (true, _) in bounds)
            assert kind != "open sketch" or any(low < high for low, high in one["K"])


@pytest.mark.parametrize("method", METHODS)
def test_an_overflow_in_the_columns_of_one_rank_is_one_of_all(world, method):
    for one in results(world, f"overflow in one column of {method} on 4"):
        assert {layer["rounding"] for layer in one["seen"].values()} == {"bf16"}


def test_a_layer_that_overflows_on_one_rank_is_summed_again_on_all(world):
    for one in results(world, "overflow on 4"):
        assert {layer["rounding"] for layer in one["seen"].values()} == {"bf16"}


def test_a_layer_that_is_unfit_is_summed_again_on_all_ranks(world):
    for one in results(world, "unfit on 4"):
        assert {name: layer["method"] == "sketch" for name, layer in one["seen"].items()} == {
            "c3": False,
            "c5": True,
        }


@pytest.mark.parametrize(
    ("name", "error", "line"),
    [
        *(
            (f"{name} in batch {n}", error, line.format(n % 3))
            for name, error, line in (
                ("a broken layer", "ModelError", "broken (on rank {} of 3)"),
                ("out of memory", "DeviceError", "ran out of memory"),
                ("an interrupt", "KeyboardInterrupt", ""),
            )
            for n in range(6)
        ),
        *(
            (f"{name} between {way}", error, line)
            for name, error, line in (
                ("a broken layer", "ValueError", "broken (on rank 1 of 3)"),
                ("out of memory", "OutOfMemoryError", "out of memory (on rank 1 of 3)"),
                ("an interrupt", "KeyboardInterrupt", ""),
            )
            for way in WAYS
        ),
        *(
            (f"NaN in batch {n}", "ActivationError", f"NaN or Inf in the activation in batch {n + 1}")
            for n in range(6)
        ),
        *(
            (f"NaN in one column of {method}", "ActivationError", "NaN or Inf in the activation in batch 5")
            for method in METHODS
        ),
        (
            "other weights",
            "RanksError",
            "rank 1 was given something else than rank 0: the hash of its",
        ),
        ("other data", "RanksError", "rank 1 was given something else than rank 0: the hash of the first"),
        ("fewer data", "RanksError", "rank 2 was given something else than rank 0: the data is"),
        ("other options", "RanksError", "rank 1 was given something else than rank 0: option seed is 1"),
        ("fewer batches", "RanksError", "the number of samples is 100, and 130 on rank 0"),
        ("other batches in the end", "DataError", "other samples came here than on other ranks"),
        ("shuffled", "DataError", "its order may change"),
        ("a distributed sampler", "DataError", "a DistributedSampler deals it out and pads it"),
    ],
)
def test_what_fails_on_one_rank_fails_on_all_with_one_line(world, name, error, line):
    raised, said = one_line(world, name, CASES[name][0])
    assert raised == error
    assert line in said


def test_what_is_sent_comes(world):
    came = results(world, "sendings")
    each = [torch.arange(6.0).view(3, 2) + 10 * rank for rank in range(3)]
    for rank, one in enumerate(came):
        assert one["told"] == [(0, 5), (1, 5), (2, 5)]
        assert [other["rank"] for other in one["gathered"]] == [0, 1, 2]
        assert all(torch.equal(a["x"], b[:1]) for a, b in zip(one["gathered"], each, strict=True))
        assert torch.equal(one["added"], sum(each).T)
        assert float(one["number"]) == 3.0
        assert torch.equal(one["broadcast"], each[1].T)
        assert torch.equal(one["dealt"], each[0][:, [slice(0, 0), slice(0, 1), slice(1, 2)][rank]])
        assert (one["shared"], one["led"]) == (0, 0)
    collected = [part.tolist() for part in came[1]["collected"]]
    assert collected == [[], [[0, 0]], each[1][:1].tolist(), [[1, 1]], each[2][:2].tolist(), [[2, 2]]]
    assert came[1]["collected"][2].dtype == torch.bfloat16
    assert came[0]["collected"] == came[2]["collected"] == []


@pytest.mark.parametrize(
    ("method", "rounding"), [*((method, "fp32") for method in METHODS), ("gram", "int16")]
)
def test_a_plan_foretells_what_travels(world, method, rounding):
    each = results(world, f"the wire of {method} {rounding}")
    assert all(one["waits"] > 0.0 for one in each)
    came, foretold = (np.mean([one[name] for one in each]) for name in ("came", "foretold"))
    # Of a sketch the most is foretold, which keeps fewer rows where fewer will do.
    assert (0.2 if method == "sketch" else 0.5) < came / foretold < 1.4


def test_all_goes_on_after_errors(world):
    (one,) = results(world, "served on 1")
    assert results(world, "after all errors")[0]["hashes"] == one["hashes"]


def test_a_rank_that_is_killed_ends_all(world):
    left = world["killed"]
    assert len(left) == SIZE - 1
    assert {one["error"] for one in left} == {"RanksError"}
    assert all("one of the 5 processes has ended, or cannot be reached" in one["line"] for one in left)


class Several(Ranks):
    def __init__(self, size):
        self.size = size


@pytest.mark.parametrize(("count", "size"), [(1, 1), (7, 3), (16, 8), (3, 8)])
def test_panels_are_dealt_back_and_forth(count, size):
    owners = dealt(count, size)
    assert owners == [min(i % (2 * size), 2 * size - 1 - i % (2 * size)) for i in range(count)]
    bounds = bounds_of(count, Several(size))
    assert (bounds[0], bounds[-1], len(bounds)) == (0, count, size + 1)
    assert max(np.diff(bounds)) - min(np.diff(bounds)) <= 1


def test_one_process_answers_itself():
    assert ALONE.leads
    assert ALONE.tell(3, 4) == [(3, 4)]
    assert ALONE.gather("x") == ["x"]
    assert ALONE.led(lambda: ALONE.ask([2, 1], "count", 1)) == 1
