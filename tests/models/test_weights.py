"""Weights on disk: what comes back is what was written, and what does not fit is named."""

import hashlib
import json
import os
import re

import pytest
import torch
from torch import nn

from streamspread.errors import WeightsError
from streamspread.models import Network
from streamspread.models.weights import apply_weights, read_weights, rounded_state, save_weights
from streamspread.system.memory import PeakMeter


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = Network("4,M,6")
    network.train()
    network(torch.randn(8, 3, 32, 32))  # moves the running statistics off their start
    return network.eval()


def test_weights_come_back_as_they_were_rounded(network, tmp_path):
    path = tmp_path / "a.safetensors"
    state = rounded_state(network)
    sha256 = save_weights(state, path, {"plan": "4,M,6", "accuracy": "0.5"})
    tensors, note, read_sha256 = read_weights(path)
    assert note == {"plan": "4,M,6", "accuracy": "0.5"}
    assert sha256 == read_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert tensors.keys() == state.keys()
    assert all(tensors[key].dtype == torch.float16 and torch.equal(tensors[key], state[key]) for key in state)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]

    twin = Network("4,M,6").to(memory_format=torch.channels_last).eval()
    apply_weights(twin, tensors, str(path), note)
    assert twin.c1.weight.dtype == torch.float32
    assert twin.c2.weight.is_contiguous(memory_format=torch.channels_last)
    for key, value in rounded_state(twin).items():
        assert torch.equal(value, state[key])
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(twin(images), network(images), rtol=5e-3, atol=5e-3)


def test_numbers_beyond_fp16_stay_in_float32(network):
    network.c1.bn.running_var[0] = 1e6  # fp16 ends at 65504
    network.c2.bn.running_var.fill_(3e-8)  # fp16 has steps of 6e-8 there
    network.c2.bn.running_mean.zero_()
    state = rounded_state(network)
    for key in ("c1.bn.running_var", "c2.bn.running_var"):
        assert state[key].dtype == torch.float32
        assert torch.equal(state[key], network.state_dict()[key])
    assert state["c2.bn.running_mean"].dtype == torch.float16


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("wrap", [None, "state_dict", "model_state_dict", "model"])
def test_torch_files_are_read_bare_and_wrapped(network, tmp_path, suffix, wrap):
    state = network.state_dict()
    path = tmp_path / f"a{suffix}"
    torch.save(state if wrap is None else {wrap: state, "epoch": 3}, path)
    tensors, note, _ = read_weights(path)
    assert note is None
    assert tensors.keys() == state.keys()
    twin = Network("4,M,6").eval()
    apply_weights(twin, tensors, str(path))
    assert torch.equal(twin(torch.ones(1, 3, 32, 32)), network(torch.ones(1, 3, 32, 32)))


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"must end in \.safetensors, \.pt, \.pth"):
        read_weights(tmp_path / "a.onnx")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\xff" * 64, b"PK\x03\x04 and no more"])
def test_a_broken_file_is_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(f"cannot read weights from {path}: ")) as caught:
        read_weights(path)
    reason = str(caught.value).partition(f"{path}: ")[2]
    assert reason.isprintable()
    assert 5 < len(reason) < 200
    assert reason.startswith("the file is empty") == (not content)


class Unwelcome:
    """Something that only a full unpickling would bring back."""


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, torch.ones(3)])
def test_a_torch_file_without_a_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "a.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"cannot read weights from .*a\.pt: it holds no state dict"):
        read_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("content", [nn.Linear(2, 2), Unwelcome(), {"state_dict": {}, "best": Unwelcome()}])
def test_a_whole_module_or_other_objects_are_refused_in_own_words(tmp_path, content, zipped):
    path = tmp_path / "a.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    words = r"a\.pt: it holds pickled objects, not only tensors: save model\.state_dict\(\) alone\Z"
    with pytest.raises(WeightsError, match=words):
        read_weights(path)


@pytest.mark.filterwarnings("ignore:.*TorchScript:UserWarning", "ignore:.*jit:UserWarning")
def test_a_torch_script_file_is_refused_without_a_warning(tmp_path, recwarn):
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    recwarn.clear()
    with pytest.raises(WeightsError, match=r"it holds a TorchScript program, not a state dict: save model"):
        read_weights(path)
    assert len(recwarn) == 0


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.eye(3).to_sparse(), r"sparse \(torch\.sparse_coo\)"),
        (torch.empty(3, 3, device="meta"), "on the meta device, without its numbers"),
    ],
)
def test_tensors_that_are_no_ordinary_ones_are_refused(tmp_path, tensor, kind):
    path = tmp_path / "a.pt"
    torch.save({"bias": torch.ones(3), "weight": tensor}, path)
    with pytest.raises(WeightsError, match=rf"a\.pt: weight is {kind}: save it as an ordinary tensor"):
        read_weights(path)


def test_a_name_too_long_for_any_file_is_one_line(network, tmp_path):
    path = tmp_path / f"{'n' * 300}.safetensors"
    with pytest.raises(
        WeightsError, match=r"cannot read weights from .*nnn\.safetensors: File name too long\Z"
    ):
        read_weights(path)
    with pytest.raises(
        WeightsError, match=r"cannot write weights to .*: File name too long: give another path"
    ):
        save_weights(rounded_state(network), path, {})


def changed(state, **changes):
    state = dict(state)
    for key, value in changes.items():
        key = key.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"c2__weight": None}, r"c2\.weight is missing"),
        (
            {"c2__weight": torch.ones(6, 4, 1, 1)},
            r"c2\.weight is 6x4x1x1 in the file and 6x4x3x3 in the model",
        ),
        ({"head": torch.ones(2)}, "the model has no head"),
        ({"c1__bn__bias": torch.ones(4, dtype=torch.int64)}, r"c1\.bn\.bias is torch\.int64 in the file"),
        ({"c1__bn__bias": torch.full((4,), float("nan"))}, r"are broken: c1\.bn\.bias holds NaN or Inf"),
        ({"c1__bn__bias": torch.full((4,), 1e300, dtype=torch.float64)}, r"c1\.bn\.bias holds NaN or Inf"),
    ],
)
def test_the_first_difference_is_named_and_the_model_stays_as_it_was(network, changes, message):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    tensors = {key: value + 1 for key, value in rounded_state(network).items()}
    with pytest.raises(WeightsError, match=message):
        apply_weights(network, changed(tensors, **changes), "file.pt")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_weights_cannot_be_written_elsewhere(network, tmp_path):
    with pytest.raises(WeightsError, match=r"the folder '.*missing' does not exist: make it first"):
        save_weights(rounded_state(network), tmp_path / "missing" / "a.safetensors", {})
    with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
        save_weights(rounded_state(network), tmp_path / "a.pt", {})
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(
        WeightsError, match=r"cannot write weights to '.*folder\.safetensors': it is a folder"
    ):
        save_weights(rounded_state(network), folder, {})
    assert [file.name for file in tmp_path.iterdir()] == ["folder.safetensors"]


def test_links_pipes_and_notes_that_are_no_unicode_do_no_harm(network, tmp_path):
    state = rounded_state(network)
    (tmp_path / "link.safetensors").symlink_to("real.safetensors")
    save_weights(state, tmp_path / "link.safetensors", {"data": os.fsdecode(b"caf\xe9")})
    assert (tmp_path / "link.safetensors").is_symlink()
    assert read_weights(tmp_path / "real.safetensors")[1] == {"data": "caf?"}
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(WeightsError, match="it is not a regular file: give another path"):
        save_weights(state, tmp_path / "pipe.safetensors", {})
    assert (tmp_path / "pipe.safetensors").is_fifo()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(network, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(
        WeightsError,
        match=r"cannot write weights to '.*a\.safetensors': No space left on device: give another",
    ):
        save_weights(rounded_state(network), path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(WeightsError, match="it is not a regular file: give another path"):
            read_weights(tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize("kind", ["holes.safetensors", "holes.pt", "large.safetensors"])
def test_what_does_not_fit_is_refused_before_it_is_read(network, tmp_path, kind):
    path, size = tmp_path / kind, 1 << 28
    header = b"" if kind.startswith("holes") else large_header(size)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    with PeakMeter(torch.device("cpu")) as meter, pytest.raises(WeightsError, match=re.escape(kind)):
        read_weights(path, network)
    assert meter.peak < size // 8


def large_header(size):
    """Of a safetensors file with one tensor of so many bytes."""
    text = json.dumps(
        {"c1.weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    ).encode()
    return len(text).to_bytes(8, "little") + text
