"""What Lightning's Trainer and that of transformers call; their own run in the examples."""

from types import SimpleNamespace

import pytest

import streamspread
from streamspread.errors import MissingError, OptionError
from streamspread.monitor import callbacks
from streamspread.monitor.monitor import Monitor
from tests.training_loops import images, network, train

GIVEN = {"every": 4, "samples": 20, "out": None}


def steps_of(spread):
    return [(one.step, one.until, one.samples) for one in spread.history.of("c1")]


class Each:
    """A loop's end of each step, as a trainer sees it."""

    def __init__(self, call):
        self.step = call


def test_lightning_steps_are_those_of_the_optimizer():
    net, logged = network(), []
    logger = SimpleNamespace(log_metrics=lambda numbers, step: logged.append((step, numbers)))
    trainer = SimpleNamespace(global_step=0, loggers=[logger])
    spread = callbacks._Lightning(Monitor, ["c1", "c2"], {**GIVEN, "loggers": ()})
    spread.on_train_start(trainer, net)
    for number, x in enumerate(images(160).split(10), 1):  # two batches to a step
        spread.on_train_batch_start(trainer, net, x, number)
        train(net, [x], Each(lambda: None))
        trainer.global_step = number // 2
        spread.on_train_batch_end(trainer, net, None, x, number)
    spread.on_train_end(trainer, net)
    assert steps_of(spread.monitor) == [(0, 0, 20), (4, 4, 20)]
    assert [step for step, _ in logged] == [0, 4]
    assert logged[0][1]["spread/c1/K_0.7"] == spread.monitor.history.of("c1")[0].components(0.7).low

    again = callbacks._Lightning(Monitor, ["c1", "c2"], GIVEN)
    again.load_state_dict(spread.state_dict())
    again.on_train_start(trainer, net)
    assert again.monitor.steps == 8
    assert len(again.monitor.history.of("c1")) == 2
    again.on_exception(trainer, net, RuntimeError())
    assert not any(module._forward_hooks for module in net.modules())
    trainer.global_step = 12
    again.on_train_start(trainer, net)  # a second fit is where the trainer is, not where the file was
    assert again.monitor.steps == 12
    again.on_train_end(trainer, net)


def test_transformers_keep_the_state_in_their_checkpoints(tmp_path):
    net, args = network(), SimpleNamespace(output_dir=str(tmp_path))
    state = SimpleNamespace(global_step=0, is_world_process_zero=True)
    spread = callbacks._Transformers(Monitor, "c1", GIVEN)
    spread.on_train_begin(args, state, None, model=net)
    for x in images(120).split(20):
        train(net, [x[:10]], Each(lambda: None))
        spread.on_substep_end(args, state, None)
        train(net, [x[10:]], Each(lambda: None))
        state.global_step += 1
        spread.on_step_end(args, state, None)
    (tmp_path / "checkpoint-6").mkdir()
    spread.on_save(args, state, None)
    spread.on_train_end(args, state, None)
    assert steps_of(spread.monitor) == [(0, 0, 20), (4, 4, 20)]

    for step, looks in ((6, 2), (7, 0)):  # with a checkpoint of this step, and without
        again = callbacks._Transformers(Monitor, "c1", GIVEN)
        again.on_train_begin(args, SimpleNamespace(global_step=step), None, model=net)
        assert (again.monitor.steps, len(again.monitor.history)) == (step, looks)
        again.on_train_end(args, state, None)


def test_transformers_state_that_cannot_be_written_or_read(tmp_path, monkeypatch, caplog):
    net, args = network(), SimpleNamespace(output_dir=str(tmp_path))
    state = SimpleNamespace(global_step=3, is_world_process_zero=True)
    spread = callbacks._Transformers(Monitor, "c1", GIVEN)
    spread.on_train_begin(args, state, None, model=net)
    (tmp_path / "checkpoint-3").mkdir()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "replace_file", full)
        spread.on_save(args, state, None)
    assert "No space left on device" in caplog.text
    (tmp_path / "checkpoint-3" / callbacks._KEPT).write_text("{")
    with pytest.raises(OptionError, match="holds no state of a Monitor"):
        spread.on_train_begin(args, state, None, model=net)


def test_of_a_training_of_transformers_that_failed_no_hook_is_left_in_the_next():
    net, args = network(), SimpleNamespace(output_dir="none")
    spread = callbacks._Transformers(Monitor, "c1", {**GIVEN, "every": [0]})
    for step in (0, 1):  # nothing tells the callback that the first one failed
        spread.on_train_begin(args, SimpleNamespace(global_step=step), None, model=net)
        assert bool(net._forward_pre_hooks) == (step == 0)


@pytest.mark.parametrize("kind", ["lightning", "transformers"])
def test_what_is_not_installed_is_named(kind, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(callbacks, "import_module", missing)
    monkeypatch.setattr(callbacks, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=f"(?i){kind} is not installed: pip install"):
        getattr(streamspread.Monitor, kind)("c1")
