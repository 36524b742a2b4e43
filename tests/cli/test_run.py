"""``run`` for real on a tiny network: table, file, notes, progress, and what an interruption leaves."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import streamspread
from streamspread import models, store
from streamspread.api import analyze, sources
from streamspread.api.sources import Data
from streamspread.cli.arguments import dated_name
from streamspread.datasets.images import ImageData, StreamedImages
from tests.fresh import environment


def test_a_run_prints_the_table_and_writes_the_file(cli, tiny, tmp_path):
    code, out, err = cli("run", *tiny, "--out", "tiny.arrow", "--thresholds", "0.5,0.9")
    assert code == 0
    assert err == "wrote tiny.arrow\n"
    spectra = store.read(tmp_path / "tiny.arrow")
    assert list(spectra) == ["c1", "c2", "gap"]
    assert [s.dim for s in spectra.values()] == [4 * 32 * 32, 6 * 16 * 16, 6]
    assert {s.samples for s in spectra.values()} == {24}
    assert spectra.thresholds == (0.5, 0.9)
    for name, spectrum in spectra.items():
        for tau in (0.5, 0.9):
            assert re.search(rf"^{name} .* {spectrum.components(tau).low} ", out, re.MULTILINE)
    assert "random weights" in out.splitlines()[0]
    assert "\x1b" not in out


def test_a_result_says_what_made_it(cli, tiny, tmp_path):
    cli("run", *tiny, "--out", "tiny.arrow", "--seed", "3", "--quiet")
    facts = store.read(tmp_path / "tiny.arrow").provenance
    command = ["streamspread", "run", *tiny, "--out", "tiny.arrow", "--seed", "3", "--quiet"]
    assert facts["command"] == command
    assert facts["plan"] == "4,M,6"
    assert facts["weights"] == "none"
    assert facts["samples"] == 24
    assert facts["seed"] == 3
    assert facts["split"] == "train"
    assert facts["device"] == "cpu"
    assert facts["version"] == streamspread.__version__
    assert facts["packages"]["torch"] == torch.__version__


def test_without_out_the_file_is_named_after_model_and_time(cli, tiny, tmp_path):
    _, _, err = cli("run", *tiny)
    (written,) = tmp_path.glob("*.arrow")
    assert re.fullmatch(r"plan-4-M-6-\d{8}-\d{6}\.arrow", written.name)
    assert err == f"wrote {written.name}\n"


def test_without_out_no_file_that_is_there_is_replaced(cli, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("streamspread.cli.commands.run.dated_name", lambda *_: Path("x.arrow"))
    for name in ("x.arrow", "x-2.arrow", "x-3.arrow"):
        assert cli("run", *tiny, "--layers", "gap").err == f"wrote {name}\n"
    assert sorted(os.listdir(tmp_path)) == ["x-2.arrow", "x-3.arrow", "x.arrow"]
    assert list(store.read(tmp_path / "x-3.arrow")) == ["gap"]


def test_a_dated_name_is_one_that_a_file_can_have(tmp_path):
    name = dated_name(f"plan:{','.join(['64'] * 200)}", ".arrow").name
    assert re.fullmatch(r"plan-64-[\w-]+-\d{8}-\d{6}\.arrow", name)
    store.check_writable(tmp_path / name)


@pytest.mark.parametrize("out", ["w.safetensors", "new", "new/"])
def test_only_a_file_for_results_is_written(cli, tiny, tmp_path, out):
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    code, _, err = cli("run", *tiny, "--out", out)
    assert code == 2
    assert re.fullmatch(r"error: cannot write the result to '.*': the name must end in \.arrow\n", err)
    assert os.listdir(tmp_path) == ["w.safetensors"]
    assert (tmp_path / "w.safetensors").read_bytes() == b"weights"


def test_quiet_leaves_the_table_only(cli, tiny):
    code, out, err = cli("run", *tiny, "--out", "tiny.arrow", "--quiet")
    assert (code, err) == (0, "")
    assert "K(0.7)" in out


def test_chosen_layers_only(cli, tiny, tmp_path):
    cli("run", *tiny, "--layers", "c2*, gap", "--out", "tiny.arrow")
    assert list(store.read(tmp_path / "tiny.arrow")) == ["c2", "c2.bn", "c2.relu", "gap"]


def test_other_formats_go_to_stdout_whole(cli, tiny):
    _, out, _ = cli("run", *tiny, "--out", "tiny.arrow", "--format", "json")
    assert [layer["layer"] for layer in json.loads(out)["layers"]] == ["c1", "c2", "gap"]
    _, out, _ = cli("run", *tiny, "--out", "tiny.arrow", "--format", "csv")
    assert len(out.splitlines()) == 4


def test_an_older_result_is_replaced_at_the_end_only(cli, tiny, tmp_path, monkeypatch):
    (tmp_path / "old.arrow").write_text("old")

    def interrupt(*args, **options):
        assert (tmp_path / "old.arrow").read_text() == "old"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(analyze, "analyze_with", interrupt)
        assert cli("run", *tiny, "--out", "old.arrow") == (130, "", "interrupted\n")
    assert (tmp_path / "old.arrow").read_text() == "old"
    assert os.listdir(tmp_path) == ["old.arrow"]
    assert cli("run", *tiny, "--out", "old.arrow").code == 0
    assert list(store.read(tmp_path / "old.arrow")) == ["c1", "c2", "gap"]


def test_a_path_that_cannot_be_written_is_refused_before_any_work(cli, tiny, monkeypatch):
    def never(*args, **options):
        raise AssertionError("work began")

    monkeypatch.setattr(sources, "open_data", never)
    monkeypatch.setattr(analyze, "analyze_with", never)
    code, _, err = cli("run", *tiny, "--out", "missing/x.arrow")
    assert code == 2
    assert "does not exist" in err


def test_every_option_reaches_the_engine(cli, tiny, monkeypatch):
    seen = {}

    def spy(subject, options, progress, provenance, announce, twin, ranks):
        seen.update(vars(options), progress=callable(progress), samples=subject.data.samples)
        raise KeyboardInterrupt

    monkeypatch.setattr(analyze, "analyze_with", spy)
    options = "--layers c1,c2 --thresholds 0.2,1 --method gram --rounding bf16 --rank 12 --memory 2GiB"
    options += " --width 5 --max-passes 2 --batch-size 7 --no-proof --all-eigenvalues --no-estimate --classes"
    options += " --split test --seed 7 --view position,whole --axes nchw,c2=NHWC"
    options += " --directions 3 --scores --checkpoint run.ck"
    cli("run", *tiny, *options.split())
    assert seen == {
        "layers": ["c1", "c2"],
        "thresholds": (0.2, 1.0),
        "directions": 3,
        "scores": True,
        "samples": 24,
        "method": "gram",
        "rounding": "bf16",
        "rank": 12,
        "width": 5,
        "max_passes": 2,
        "memory": "2GiB",
        "device": "cpu",
        "seed": 7,
        "batch_size": 7,
        "proof": False,
        "all_eigenvalues": True,
        "classes": True,
        "estimate": False,
        "with_random": False,
        "view": ("position", "whole"),
        "axes": "NCHW,c2=NHWC",
        "checkpoint": "run.ck",
        "progress": True,  # off a terminal as lines
    }


def test_before_a_longer_run_it_says_how_long_and_what_all_images_would_take(cli, tiny, monkeypatch):
    monkeypatch.setattr("streamspread.engine.pace._WORTH_A_WORD", 0.0)
    assert re.search(r"^about \d+ s$", cli("run", *tiny).err, re.MULTILINE)
    assert "about" not in cli("run", *tiny, "--quiet").err
    monkeypatch.setattr("streamspread.api.sources.CPU_SAMPLES", 24)
    options = ["patches" if option == "noise" else option for option in tiny]
    at = options.index("--samples")
    err = cli("run", *options[:at], *options[at + 2 :]).err
    assert re.search(r"^about \d+ s; all [\d,]+ images: about .*, with --samples \d+$", err, re.MULTILINE)


class FakeStream:
    samples = 2
    description = "fake"


@pytest.mark.parametrize(
    ("device", "spec", "total", "asked", "expected", "noted"),
    [
        ("cpu", "noise", 50_000, None, 5_000, True),
        ("cpu", "noise", 600, None, 600, False),
        ("cpu", "noise", 50_000, 20_000, 20_000, False),
        ("cuda:0", "noise", 50_000, None, None, False),
        ("cpu", None, 50_000, None, 5_000, True),
        ("cuda:0", None, 50_000, None, None, False),
    ],
)
def test_how_many_images_without_samples(monkeypatch, device, spec, total, asked, expected, noted):
    from streamspread import datasets

    loaded = []

    def load(spec, split, samples, seed, image_size, resident_bytes=None):
        loaded.append(samples)
        stream = FakeStream()
        stream.samples = samples or total
        return stream

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(datasets, "default", lambda *args, **more: (load("cifar10", *args, **more), None))
    _, notes, *_ = sources.open_data(Data(spec, samples=asked), 0, None, torch.device(device))
    assert loaded[-1] == expected
    assert notes == (["on the CPU at most 5,000 images are used; --samples takes more"] if noted else [])


def test_without_data_the_substitute_is_named_in_notes_title_and_file(cli, tmp_path):
    options = ["--weights", "none", "--samples", "16", "--device", "cpu", "--layers", "gap"]
    code, out, err = cli("run", "--model", "plan:4", *options, "--out", "x.arrow")
    assert code == 0
    assert "patches" in err
    assert out.splitlines()[0].startswith("plan:4 · random weights · patches train")
    assert re.search(r"^note: .*using patches instead", out, re.MULTILINE)
    assert "using patches instead" in store.read(tmp_path / "x.arrow").provenance["notes"][0]


def test_a_terminal_gets_progress_on_stderr_and_a_table_that_fits(tiny, tmp_path):
    # A pseudo-terminal of 80 columns for both: what a person sees.
    output, code = on_terminal(["run", *tiny, "--samples", "4000", "--out", "tiny.arrow"], tmp_path)
    assert code == 0, output
    assert "images/s" in output
    assert "/4,000 images" in output
    assert "the whole run" in output
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    table = plain[plain.index("layer ") :].splitlines()
    assert max(map(len, table)) <= 80
    assert "wrote tiny.arrow" in plain


def test_ctrl_c_stops_at_once_and_leaves_nothing(tiny, tmp_path):
    def interrupt_when_running(seen):
        return b"\x03" if b"images/s" in seen else None

    command = [
        "run",
        *tiny,
        "--samples",
        "1000000",  # which take far longer than the key does to come
        "--layers",
        "c1",
        "--method",
        "covariance",
        "--out",
        "x.arrow",
    ]
    output, code = on_terminal(command, tmp_path, interrupt_when_running)
    assert code == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert os.listdir(tmp_path) == []


def on_terminal(arguments, folder, reply=None, seconds=120):
    """Run the command on a pseudo-terminal of 80 columns; ``reply(seen)`` gives bytes to type, once."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "streamspread", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment(TERM="xterm", COLUMNS="80", LINES="24"),
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(follower)
    seen = b""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([leader], [], [], 1)
            if ready:
                try:
                    seen += os.read(leader, 65536)
                except OSError:  # the terminal's other side is closed: the command has ended
                    break
            if reply and (typed := reply(seen)):
                os.write(leader, typed)
                reply = None
        return seen.decode(errors="replace"), child.wait(60)
    finally:
        child.kill()
        child.wait()
        os.close(leader)


def test_with_random_weights_beside_the_networks(cli, tiny):
    code, out, err = cli("run", *tiny, "--with-random", "--out", "r.arrow")
    assert (code, err) == (0, "wrote r.arrow\n")
    assert "K(0.7) random" in out
    spectra = store.read("r.arrow")
    assert list(spectra.twin) == list(spectra)
    assert "random weights" in spectra.twin.provenance["title"]
    fresh = cli(
        "run", *tiny, "--seed", "1", "--out", "s.arrow"
    )  # its data are others, its weights the twin's
    assert fresh.code == 0
    assert cli("show", "r.arrow", "-t", "0.4").out.count("K(0.4) random") == 1
    assert "and all of it again for the random twin" in cli("plan", *tiny, "--with-random").out


def test_images_stay_in_memory_where_they_are_small_beside_the_budget_and_count_in_it():
    def opened(memory):
        source = Data("noise", samples=6_000)
        return sources.open_data(source, 0, 32, torch.device("cpu"), memory=memory).images

    read = opened("64MiB")
    assert isinstance(read, StreamedImages)
    assert read.resident_bytes == 0
    held = opened("256MiB")
    assert isinstance(held, ImageData)
    assert held.resident_bytes == 6_000 * 3 * 32 * 32
    model, options = (
        models.load("plan:4", "none").module,
        {"device": "cpu", "memory": "256MiB", "layers": "gap"},
    )
    counted = streamspread.plan(model, held, **options).peak_bytes
    held.resident_bytes = 0
    assert counted - streamspread.plan(model, held, **options).peak_bytes == 6_000 * 3 * 32 * 32


def test_ctrl_c_after_some_layers_keeps_prints_and_writes_them(cli, tiny, tmp_path, monkeypatch):
    """Of two passes, the second is interrupted; a whole result of before is not replaced."""

    def stopping(observed, options, report, announce=None):
        def stop(event):
            if event.stage == "pass" and event.index == 2:
                raise KeyboardInterrupt

        return real(observed, options, stop, announce)

    real = analyze.analyzed
    monkeypatch.setattr(analyze, "analyzed", stopping)
    words = cli("run", *tiny, "--method", "covariance", "--memory", "64KiB", "--out", "x.arrow").err
    least = re.search(r"smallest budget that would do is (\w+)", words)[1]
    line = ["run", *tiny, "--method", "covariance", "--memory", least, "--out", "x.arrow"]
    for name in ("x.arrow", "x-2.arrow"):
        code, out, err = cli(*line)
        assert (code, err.splitlines()[-2:]) == (130, [f"wrote {name}", "interrupted"])
        spectra = store.read(tmp_path / name)
        left = spectra.provenance["partial"]
        assert sorted([*spectra, *left]) == ["c1", "c2", "gap"]
        assert spectra
        assert left
        assert f"note: a partial result: interrupted before {', '.join(left)}" in out
        assert spectra.provenance["data_seen"]


@pytest.mark.parametrize(("together", "times"), [(True, 1), (False, 2)])
def test_a_note_stands_once_where_both_outputs_are_read_together(cli, monkeypatch, together, times):
    monkeypatch.setattr("streamspread.cli.terminal._one_place", lambda: together)
    line = ("--model", "plan:4", "--weights", "none", "--samples", "20", "--layers", "gap", "--device", "cpu")
    _, out, err = cli("run", *line)
    assert (out + err).count("using patches instead") == times
    assert "using patches instead" in err
