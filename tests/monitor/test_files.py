"""What a monitor writes: whole whatever happens to the training, and gone on with by a later one."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import streamspread
from streamspread.errors import OptionError, StoreError
from tests.training_loops import images, network, train

ROOT = Path(__file__).resolve().parents[2]

ENDLESS = """
import sys, streamspread
from tests.training_loops import images, network, train
net = network()
with streamspread.Monitor(net, every=1, samples=10, out=sys.argv[1]) as spread:
    while True:
        train(net, images(10).split(10), spread)
"""


def observed(out, batches, state=None, **given):
    net = network()
    spread = streamspread.Monitor(net, **{"every": 2, "samples": 10, "out": out, **given})
    if state is not None:
        spread.load_state_dict(state)
    with spread:
        train(net, batches, spread)
    return spread


def test_both_files_hold_what_was_seen(tmp_path):
    spread = observed(tmp_path / "run", images(50).split(10))
    rows = [one.row() for one in spread.history.readings]
    assert len(rows) == 9
    for suffix in (".jsonl", ".arrow"):
        found = streamspread.read_history(tmp_path / f"run{suffix}")
        assert [one.row() for one in found.readings] == rows
    assert found.provenance["model"] == "Sequential"
    assert [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()] == rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.arrow", "run.jsonl"]


def test_what_is_there_is_left_alone(tmp_path):
    for name in ("run.jsonl", "run.arrow"):
        (tmp_path / name).write_text("mine")
    spread = observed(tmp_path / "run", images(10).split(10))
    assert spread.files.stem.name == "run-2"
    assert (tmp_path / "run.jsonl").read_text() == (tmp_path / "run.arrow").read_text() == "mine"
    assert len(streamspread.read_history(tmp_path / "run-2.jsonl")) == 3


def test_a_training_that_fails_before_a_look_leaves_no_file_and_no_hook(tmp_path):
    net = network()

    def failing():
        with streamspread.Monitor(net, samples=100, out=tmp_path / "run") as spread:
            train(net, images(10).split(10), spread)
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        failing()
    assert list(tmp_path.iterdir()) == []
    assert not any(module._forward_hooks for module in net.modules())


def test_a_training_that_goes_on_writes_what_one_alone_would(tmp_path):
    batches = images(80).split(10)
    whole = observed(tmp_path / "whole", batches)
    first = observed(tmp_path / "run", batches[:3])
    state = json.loads(json.dumps(first.state_dict()))
    with (tmp_path / "run.jsonl").open("a") as file:
        file.write('{"step": 2')  # and it was killed here
    second = observed(tmp_path / "run", batches[3:], state)
    assert [one.step for one in second.history.of("c1")] == [0, 2, 4, 6]
    untimed = [[one.row() | {"seconds": None} for one in each.history.readings] for each in (whole, second)]
    assert untimed[0] == untimed[1]
    found = streamspread.read_history(tmp_path / "run.jsonl")
    assert [one.row() for one in found.readings] == [one.row() for one in second.history.readings]


@pytest.mark.parametrize("when", ["within", "after"])
def test_a_window_that_was_open_begins_anew_where_the_training_goes_on(when):
    net, batches = network(), images(80).split(10)
    given = {"every": 5, "samples": 20, "out": None}
    first = streamspread.Monitor(net, **given)
    with first:
        train(net, batches[:6], first)  # the window of step 5 has one batch of two
        state = first.state_dict()
    state = first.state_dict() if when == "after" else state
    second = streamspread.Monitor(net, **given)
    second.load_state_dict(json.loads(json.dumps(state)))
    with second:
        train(net, batches[6:], second)
    with first:  # the same one goes on as well
        train(net, batches[6:], first)
    for spread in (first, second):
        assert [(one.step, one.until) for one in spread.history.of("c1")] == [(0, 1), (6, 7)]


@pytest.mark.slow
def test_a_training_that_is_killed_leaves_both_files_readable(tmp_path):
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT)
    lines, until = tmp_path / "run.jsonl", time.monotonic() + 240
    while time.monotonic() < until and (not lines.exists() or lines.read_bytes().count(b"\n") < 12):
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert len(streamspread.read_history(lines)) >= 12
    assert len(streamspread.read_history(tmp_path / "run.arrow")) % 3 == 0


def test_a_line_that_was_cut_off_is_left_out_and_one_that_is_broken_is_refused(tmp_path):
    observed(tmp_path / "run", images(10).split(10))
    lines = tmp_path / "run.jsonl"
    content = lines.read_bytes()
    lines.write_bytes(content[:-20])
    assert len(streamspread.read_history(lines)) == 2
    lines.write_bytes(b"{]\n" + content)
    with pytest.raises(StoreError, match="damaged in line 1"):
        streamspread.read_history(lines)
    lines.write_bytes(b'{"step": 1}\n')
    with pytest.raises(StoreError, match="columns of another kind"):
        streamspread.read_history(lines)


def test_a_folder_that_goes_away_does_not_end_the_training(tmp_path, caplog):
    net, folder = network(), tmp_path / "gone"
    folder.mkdir()
    with streamspread.Monitor(net, every=1, samples=10, out=folder / "run") as spread:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        train(net, images(30).split(10), spread)
    assert len(spread.history) == 9
    assert len(caplog.records) == 1
    assert "cannot write" in caplog.text


def test_a_place_where_nothing_can_be_written_is_refused_at_the_start(tmp_path):
    with pytest.raises(StoreError, match=r"cannot write .*: give another path"):
        observed(tmp_path / "nowhere" / "run", [])


@pytest.mark.parametrize("state", [{}, {"steps": "x", "files": "", "readings": [], "open": False}])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(OptionError, match="no state of a Monitor"):
        streamspread.Monitor(network(), out=None).load_state_dict(state)
