"""Downloads of the libraries that networks and data come from, counted from a server on this machine."""

import http.server
import sys
import threading

import pytest
import torch

from streamspread.system.downloads import downloads
from streamspread.system.progress import telling
from tests.serving import Server

MEGA = 1_000_000
CONTENT = bytes(25 * MEGA)


class Handler(http.server.BaseHTTPRequestHandler):
    """Any path is a file of 25 megabytes, in a repository of Hugging Face's hub."""

    def do_HEAD(self, body=b""):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("ETag", '"one"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.do_HEAD(CONTENT)

    def log_message(self, *args):
        pass


@pytest.fixture
def url(monkeypatch):
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def of_torch(url, folder):
    with pytest.raises(RuntimeError, match="Cannot use ``weights_only=True``"):  # zeros are no weights
        torch.hub.load_state_dict_from_url(f"{url}/weights.pth", str(folder), weights_only=True)


def of_torchvision(url, folder):
    from torchvision.datasets.utils import download_url

    download_url(f"{url}/images.tar", folder)


def of_the_hub(url, folder):
    from huggingface_hub import hf_hub_download

    hf_hub_download("owner/name", "model.safetensors", cache_dir=folder, endpoint=url)


@pytest.mark.parametrize(
    ("module", "download"),
    [
        ("torch.hub", of_torch),
        ("torchvision.datasets.utils", of_torchvision),
        ("huggingface_hub.utils.tqdm", of_the_hub),
    ],
)
def test_every_library_s_download_is_told_and_draws_no_bar_of_its_own(
    url, tmp_path, capfd, monkeypatch, module, download
):
    if module.startswith("huggingface"):
        pytest.importorskip("huggingface_hub")
        # What other files of this process set, which this one does not depend on.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    told = []
    with telling(told.append), downloads(module):
        download(url, tmp_path)
    assert {(event.stage, event.unit, event.total) for event in told} == {("download", "MB", 25)}
    done = [event.done for event in told]
    assert (done == sorted(done), done[-1]) == (True, 25)
    assert len(set(done)) > 2
    assert capfd.readouterr() == ("", "")


def test_files_that_come_at_once_are_one_sum_and_the_libraries_class_comes_back():
    before, told = torch.hub.tqdm, []
    with telling(told.append), downloads("torch.hub"):
        first, second = (torch.hub.tqdm(total=n * MEGA, unit="B") for n in (2, 4))
        not_bytes = torch.hub.tqdm(total=9, unit="it")
        for bar in (first, second, not_bytes):
            thread = threading.Thread(target=bar.update, args=(MEGA,))  # a thread hears of no listener
            thread.start()
            thread.join()
    assert [(event.done, event.total) for event in told] == [(1, 2), (2, 6)]
    assert (torch.hub.tqdm, torch.hub.sys) == (before, sys)


def test_a_file_of_unknown_length_has_no_total():
    told = []
    with telling(told.append), downloads("torch.hub"):
        torch.hub.tqdm(total=None, unit="B").update(3 * MEGA)
    assert [(event.done, event.total) for event in told] == [(3, None)]


def test_without_tqdm_torch_counts_by_a_class_of_its_own(monkeypatch, capfd):
    monkeypatch.setattr(torch.hub, "tqdm", torch.hub._Faketqdm)
    told = []
    with telling(told.append), downloads("torch.hub"), torch.hub.tqdm(total=MEGA, unit="B") as bar:
        bar.update(MEGA)
    assert [event.done for event in told] == [1]
    assert capfd.readouterr() == ("", "")
