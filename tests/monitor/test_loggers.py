"""Looks reach whatever a training logs to, and a logger that fails reaches nobody."""

import math

import pytest

import streamspread
from streamspread.monitor.sinks import log_of, numbers_of
from streamspread.results.history import Components, Reading
from tests.training_loops import images, network, train

NUMBERS = {"spread/a#2/K_0.7": 3.0}


class Scalars:
    """As TensorBoard's."""

    def __init__(self):
        self.seen = []

    def add_scalar(self, name, value, step):
        self.seen.append((name, value, step))


class Metrics(Scalars):
    """As MLflow's, and Lightning's."""

    add_scalar = None

    def log_metrics(self, numbers, step):
        self.seen += [(name, value, step) for name, value in numbers.items()]


class Log(Scalars):
    """As a run of W&B's."""

    add_scalar = None

    def log(self, numbers):
        self.seen.append(numbers)


@pytest.mark.parametrize(
    ("logger", "seen"),
    [
        (Scalars(), [("spread/a#2/K_0.7", 3.0, 5)]),
        (Metrics(), [("spread/a_2/K_0.7", 3.0, 5)]),
        (Log(), [{"spread/a#2/K_0.7": 3.0, "spread/step": 5}]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_logger_is_told_in_its_own_words(logger, seen):
    log_of(logger)(NUMBERS, 5)
    assert logger.seen == seen


def test_what_is_not_one_value_is_logged_as_both_ends_and_what_is_not_known_not_at_all():
    reading = Reading(
        step=1,
        until=2,
        layer="c1",
        shape=(10,),
        dim=10,
        samples=9,
        images=9,
        components_at=(Components(0.5, 2, 2), Components(0.7, 3, 5)),
        metrics={"participation_ratio": 2.5, "effective_rank": math.nan, "power_law_10_100": 1.25},
    )
    assert numbers_of([reading]) == {
        "spread/c1/K_0.5": 2,
        "spread/c1/spread_0.5": 0.2,
        "spread/c1/K_0.7_low": 3,
        "spread/c1/K_0.7_high": 5,
        "spread/c1/participation_ratio": 2.5,
        "spread/c1/power_law": 1.25,
    }


def test_a_logger_that_fails_is_said_once_and_others_go_on(caplog):
    def broken(numbers, step):
        raise ConnectionError("no network")

    net, seen = network(), []
    loggers = [broken, lambda numbers, step: seen.append(step)]
    with streamspread.Monitor(net, "c1", every=1, samples=10, out=None, loggers=loggers) as spread:
        train(net, images(30).split(10), spread)
    assert seen == [0, 1, 2]
    assert [record.message.count("no network") for record in caplog.records] == [1]
