"""``timm:NAME``: built at random or with weights of the cache, with timm's own size and constants."""

import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from PIL import Image

from streamspread import read
from streamspread.cli import main
from streamspread.datasets.images import resize_and_crop
from streamspread.errors import MissingError, ModelError, WeightsError
from streamspread.models import load

timm = pytest.importorskip("timm")

BYTES = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SMALL = "test_resnet"


def test_random_weights_follow_the_seed_with_timms_size_and_constants():
    one, same, other = (load(f"timm:{SMALL}", "none", seed=seed) for seed in (1, 1, 2))
    config = timm.data.resolve_data_config({}, model=one.module)
    assert (one.weights, one.note, one.takes) == ("none", None, "images")
    assert one.image_size == config["input_size"][-1] == 160
    first = [loaded.module.conv1[0].weight for loaded in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    assert config["mean"] != (0.4914, 0.4822, 0.4465)
    with torch.no_grad():
        torch.testing.assert_close(one.module(BYTES), one.module((BYTES / 255 - mean) / std))


@pytest.mark.parametrize(
    ("name", "weights", "kind", "message"),
    [
        (
            "test_resnett",
            "none",
            ModelError,
            r"timm has no model 'test_resnett', did you mean 'timm:test_resnet'",
        ),
        ("test_resnet.r160", "none", ModelError, r"did you mean 'timm:test_resnet\.r160_in1k'"),
        ("", "none", ModelError, r"timm has no model ''$"),
        (
            "test_mambaout",
            "default",
            WeightsError,
            r"timm has no weights for 'test_mambaout': give --weights PATH",
        ),
        (
            SMALL,
            None,
            WeightsError,
            r"no weights for timm:test_resnet; .*--weights default for those published",
        ),
    ],
)
def test_what_timm_does_not_have_is_refused(hub_cache, name, weights, kind, message):
    with pytest.raises(kind, match=message):
        load(f"timm:{name}", weights)


def test_weights_that_lie_elsewhere_than_at_the_hub_say_where_they_were_looked_for(monkeypatch, tmp_path):
    def unreachable(*args, **options):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    line = rf"timm's weights 'gcvit_xxtiny.in1k' are not in the cache {tmp_path}/checkpoints and cannot be "
    with pytest.raises(WeightsError, match=line + r"downloaded \(no network in tests\)"):
        load("timm:gcvit_xxtiny", "default")


def test_without_timm_the_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingError, match=r"need timm \(.*\): pip install 'streamspread\[timm\]'"):
        load(f"timm:{SMALL}", "none")


@pytest.mark.parametrize("crop", ["center", "squash", "border"])
@pytest.mark.parametrize("share", [0.875, 1.0])
@pytest.mark.parametrize("size", [(32, 32), (48, 32), (24, 40)])
@pytest.mark.parametrize("shape", [(64, 64), (50, 91), (240, 97), (12, 40)])
def test_images_are_brought_to_size_as_timms_own_evaluation_does(monkeypatch, crop, share, size, shape):
    config = timm.models.get_pretrained_cfg(SMALL)
    changed = {"crop_mode": crop, "crop_pct": share, "input_size": (3, *size), "mean": (0.1, 0.4, 0.7)}
    create = timm.create_model

    def created(name, **options):
        return create(name, pretrained_cfg=config, pretrained_cfg_overlay=changed, **options)

    monkeypatch.setattr(timm, "create_model", created)
    loaded = load(f"timm:{SMALL}", "none")
    wanted = timm.data.create_transform(
        **timm.data.resolve_data_config({}, model=loaded.module), normalize=False
    )
    # A picture with no more detail than it has pixels: of noise bicubic's overshoots would be cut off.
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()
    got = resize_and_crop(pixels, loaded.image_size)[0].int()
    assert got.shape == (3, *size)
    assert (got - wanted(image).int()).abs().max() <= 1  # Pillow rounds between both axes


def test_a_model_of_images_that_are_not_square_runs_and_is_listed(monkeypatch, capsys, tmp_path):
    create, name = timm.create_model, "vit_tiny_patch16_224"
    tiny = {"img_size": (64, 48), "embed_dim": 12, "depth": 1, "num_heads": 2}
    tiny |= {"pretrained_cfg_overlay": {"input_size": (3, 64, 48)}}
    monkeypatch.setattr(timm, "create_model", lambda n, **options: create(n, **tiny, **options))
    spec = ["--model", f"timm:{name}", "--layers", "patch_embed.proj"]
    assert main(["layers", *spec]) == 0
    assert "12×4×3" in capsys.readouterr().out
    for data in ("noise", "patches"):
        line = ["run", *spec, "--weights", "none", "--data", data, "--samples", "20", "--device", "cpu"]
        assert main([*line, "--out", str(tmp_path / f"{data}.arrow")]) == 0
        assert read(tmp_path / f"{data}.arrow")["patch_embed.proj"].shape == (12, 4, 3)
