"""``hf:NAME``: from folders and the cache, with the image processor's size and constants."""

import json
import sys

import pytest
import torch

from streamspread import analyze
from streamspread.datasets.images import resize_and_crop
from streamspread.errors import MissingError, ModelError, WeightsError
from streamspread.models import load

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
BYTES = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def vit():
    return transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **SMALL))


def bert(kind="BertModel"):
    return getattr(transformers, kind)(
        transformers.BertConfig(vocab_size=20, max_position_embeddings=16, **SMALL)
    )


@pytest.fixture
def saved(tmp_path, capfd):
    """Saves a model and, for images, options of its processor; returns the folder."""

    def save(model, **processor):
        folder = tmp_path / "model"
        model.save_pretrained(folder)
        if processor:
            transformers.ViTImageProcessor(**processor).save_pretrained(folder)
        return folder

    return save


def test_random_weights_follow_the_seed(saved):
    folder = saved(vit())
    one, same, other = (load(f"hf:{folder}", "none", seed=seed) for seed in (1, 1, 2))
    assert (one.weights, one.note, one.takes, one.image_size) == ("none", None, "images", 16)
    states = [torch.cat([p.flatten() for p in loaded.module.parameters()]) for loaded in (one, same, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_published_weights_and_the_constants_of_the_processor(saved):
    source = vit().eval()
    loaded = load(f"hf:{saved(source, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])}", "default")
    assert loaded.weights == "default"
    assert list(loaded.note) == ["published"]
    assert not loaded.module.training
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    with torch.no_grad():
        images = torch.nn.functional.interpolate(BYTES, 16)
        wanted = source((images / 255 - mean) / std).pooler_output
        torch.testing.assert_close(loaded.module(images).pooler_output, wanted)


@pytest.mark.parametrize(
    ("options", "size", "scale", "shift"),
    [
        ({"size": {"height": 24, "width": 24}}, 24, 2.0, 1.0),
        ({"size": {"shortest_edge": 30}, "do_center_crop": True, "crop_size": 20}, 20, 2.0, 1.0),
        ({"do_resize": False}, 16, 2.0, 1.0),
        ({"do_normalize": False}, 224, 1.0, 0.0),
        ({"do_rescale": False, "do_normalize": False}, 224, 255.0, 0.0),
        ({"rescale_factor": 1 / 127.5}, 224, 4.0, 1.0),
    ],
)
def test_sizes_and_constants_are_what_the_processor_does(saved, options, size, scale, shift):
    """x/255 becomes scale·x/255 − shift: by itself a ViT's processor has 1/2 for mean and deviation."""
    loaded = load(f"hf:{saved(vit(), **{'do_resize': True} | options)}", "none")
    assert loaded.image_size == size
    (hook,) = loaded.module._forward_pre_hooks.values()
    (x,) = hook(loaded.module, (BYTES,))
    torch.testing.assert_close(x, BYTES / 255 * scale - shift, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "brought"),
    [
        ({"size": {"height": 24, "width": 24}, "resample": 3}, "24x24 (bicubic, squashed)"),
        ({"size": {"shortest_edge": 30}, "do_center_crop": True, "crop_size": 20, "resample": 3},
         "20x20 of 30 (bicubic)"),
        ({"size": {"height": 40, "width": 24}, "resample": 2}, "40x24 (squashed)"),
        ({"do_resize": False}, "16x16"),
    ],
)  # fmt: skip
def test_images_are_brought_to_size_as_the_processor_does(saved, options, brought):
    folder = saved(vit(), **{"do_resize": True} | options)
    side = load(f"hf:{folder}", "none").image_size
    assert str(side) == brought
    coarse = torch.randint(0, 256, (1, 3, 4, 5), generator=torch.Generator().manual_seed(1)).float()
    image = torch.nn.functional.interpolate(coarse, (50, 71), mode="bicubic").clamp(0, 255).to(torch.uint8)
    if not options.get("do_resize", True):
        return
    # ViT's own processor never crops: CLIP's, of the same options, does.
    kind = transformers.CLIPImageProcessor if "crop_size" in options else transformers.ViTImageProcessor
    processor = kind(**options, do_rescale=False, do_normalize=False)
    wanted = processor(image[0].permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"]
    assert (resize_and_crop(image, side).float() - wanted).abs().max() <= 1


def test_a_model_of_the_cache_by_its_name(hub_cache, saved):
    source = vit()
    hub_cache("someone/vit-small", saved(source))
    loaded = load("hf:someone/vit-small", "default")
    assert loaded.note == {"published": f"someone/vit-small at {hub_cache.commit}"}
    assert torch.equal(loaded.module.pooler.dense.weight, source.pooler.dense.weight)
    with pytest.raises(
        ModelError,
        match=rf"model 'someone/vit-smal': not in the cache {hub_cache.cache}, and https://\S+ cannot be "
        r"reached \(no network in tests\), did you mean 'someone/vit-small'\?$",
    ):
        load("hf:someone/vit-smal", "none")


def test_weights_that_are_not_published_are_named(saved):
    loaded = load(f"hf:{saved(bert('BertForMaskedLM'))}", "default")
    assert loaded.note["random"] == "pooler.dense.bias, pooler.dense.weight"


def test_a_model_of_texts_has_example_tokens(saved):
    loaded = load(f"hf:{saved(bert())}", "none")
    assert (loaded.takes, loaded.example.dtype) == ("input_ids", torch.int64)
    assert loaded.example.max() < 20
    spectra = analyze(loaded.module, torch.arange(60).reshape(10, 6) * 7 % 20, layers=["encoder", "pooler"])
    assert [s.shape for s in spectra.values()] == [(6, 8), (8,)]
    assert all(s.total_variance > 0 for s in spectra.values())


@pytest.mark.parametrize(
    ("files", "weights", "kind", "message"),
    [
        ({}, "none", ModelError, r"transformers cannot build '.*': ValueError: Unrecognized model"),
        ({"config.json": "{"}, "none", ModelError, r"model '.*': not in the folder \(OSError: .*JSON"),
        ({"config.json": json.dumps({"model_type": "vit", **SMALL})}, "default", WeightsError,
         r"weights of '.*': not in the folder \(OSError: .*no file named"),
        ({"config.json": json.dumps({"model_type": "walrus"})}, "none", ModelError, r"ValueError: .*walrus"),
        ({"config.json": json.dumps({"auto_map": {"AutoConfig": "own.Config"}}), "own.py": "1/0"}, "none",
         ModelError, r"ValueError: .*contains custom code"),
    ],
)  # fmt: skip
def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path, files, weights, kind, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(kind, match=message) as caught:
        load(f"hf:{tmp_path}", weights)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_none_is_refused(hub_cache):
    with pytest.raises(ModelError, match=r"model 'a b//c': not in the cache"):
        load("hf:a b//c", "none")


def test_without_transformers_the_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingError, match=r"need transformers \(.*\): pip install 'streamspread\[hf\]'"):
        load("hf:any/thing", "none")
