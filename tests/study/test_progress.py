"""How much of a study is done: by what its steps foresee, whatever they tell of themselves."""

import pytest

from streamspread.study.progress import Agenda, Work, foreseen, works
from streamspread.study.steps import TrainingSpec, steps
from streamspread.system.devices import CPU
from streamspread.system.progress import Progress


def event(whole, stage="pass", done=0, total=None):
    return Progress(stage, 1, 1, done, total, "images", "c1", whole)


def test_every_part_of_every_step_is_a_share_of_the_whole():
    told = []
    agenda = Agenda([Work(0.0, 2.0), Work(6.0, 2.0)])
    _, first = agenda.of(0, told.append)
    learning, second = agenda.of(1, told.append)
    for report, share in [(first, 0.5), (first, 1.0), (learning, 0.5), (learning, 1.0), (second, 1.0)]:
        report(event(share))
    assert [one.whole for one in told] == pytest.approx([0.1, 0.2, 0.5, 0.8, 1.0])


def test_what_tells_nothing_of_its_whole_is_handed_on_and_a_t_sne_counts_its_layers():
    told = []
    _, rest = Agenda([Work(0.0, 1.0)]).of(0, told.append)
    rest(event(None, "planning"))
    rest(event(None, "t-SNE", 3, 4))
    assert [one.whole for one in told] == [None, 0.75]


def test_more_images_more_layers_a_training_and_a_t_sne_take_longer():
    def work(name, epochs=0):
        todo = {step.name: step for step in steps(["no1", "no2"], ["networks", "samples", "latent"], 4000, 1)}
        return foreseen(todo[name], 4000, epochs, 10_000, CPU)

    whole, few, half, points = (work(name) for name in ("no1", "no1-n500", "no2", "no1-tsne"))
    assert whole.training == few.training == 0.0
    assert few.rest < half.rest < whole.rest
    assert points.rest > whole.rest / 3  # the same sums, of a third of the taps
    assert work("no1", 4).training == pytest.approx(2 * work("no1", 2).training)
    # A forward: 2 · 9 · 3 · 64 · 32² operations for c1, and so on.
    assert work("no1", 1).training / CPU.forward_cost == pytest.approx(3 * 10_000 * 3.06e8, rel=0.01)


def test_a_training_counts_with_the_first_step_that_needs_it():
    todo = steps(["plan:4,M,6"], ["networks", "samples"], 1300, 1)
    found = works(todo, [TrainingSpec(2)] * len(todo), 1300, 500, CPU)
    assert [work.training > 0 for work in found] == [True] + [False] * (len(todo) - 1)
    assert works(todo, [None] * len(todo), 1300, 0, CPU)[0].training == 0.0
