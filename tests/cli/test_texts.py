"""Texts of Hugging Face's data sets on the command line, by the tokens of the model's own tokenizer."""

import numpy as np
import pytest
import torch

import streamspread
from streamspread.cli import main

hugging_face = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

SAYING = "a language model reads one token after another and says what may follow it"
SMALL = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
LONGEST = 9


def texts(n, seed=0):
    """Of one to twelve words; some are empty or blank."""
    rng = np.random.default_rng(seed)
    made = [" ".join(rng.choice(SAYING.split(), rng.integers(1, 13))) for _ in range(n)]
    return ["" if i % 10 == 3 else "  " if i % 10 == 7 else text for i, text in enumerate(made)]


@pytest.fixture
def model(tmp_path):
    """The folder of a model of texts, with its tokenizer."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *SAYING.split()])}
    tokens = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokens.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder = tmp_path / "model"
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=LONGEST, **SMALL)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path):
    """The folder of a data set, the second of whose columns holds texts by name."""
    kinds = {"title": hugging_face.Value("string"), "text": hugging_face.Value("string")}
    kinds["label"] = hugging_face.ClassLabel(names=["dull", "bright"])
    rows = {"title": ["a"] * 40, "text": [*texts(39), None], "label": [0, 1] * 20}
    hugging_face.DatasetDict(
        {"train": hugging_face.Dataset.from_dict(rows, features=hugging_face.Features(kinds))}
    ).save_to_disk(tmp_path / "set")
    return tmp_path / "set"


def run(model, data, out, *more):
    line = ["run", "--model", f"hf:{model}", "--data", f"hf:{data}", "--view", "position", *more]
    return main([*line, "--device", "cpu", "--out", str(out)])


def test_every_token_is_a_sample_and_padding_is_none(model, data, tmp_path, capsys):
    layers = ("--layers", "encoder.layer.0.output,encoder.layer.1.output", "--thresholds", "0.5,0.9")
    assert run(model, data, tmp_path / "x.arrow", "--weights", "default", *layers, "--batch-size", "7") == 0
    found = streamspread.read(tmp_path / "x.arrow")
    network = transformers.BertModel.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    states = []
    for text in texts(39):
        if text.strip():  # one text at a time needs no padding
            tokens = tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt")
            with torch.no_grad():
                states.append(network(**tokens, output_hidden_states=True).hidden_states[1:])
    assert len(states) == 39 - 8
    assert found.provenance["data"].endswith("/set train, 40 texts, 9 empty ones left out")
    for layer, parts in zip(found.values(), zip(*states, strict=True), strict=True):
        x_ND = torch.cat([part[0] for part in parts]).double().numpy()
        assert (layer.samples, layer.dim) == x_ND.shape
        values = np.linalg.eigvalsh(np.cov(x_ND.T))[::-1]
        np.testing.assert_allclose(layer.eigenvalues, values, rtol=1e-4, atol=1e-6 * values[0])
        for tau in (0.5, 0.9):
            k = int(np.searchsorted(np.cumsum(values), tau * values.sum())) + 1
            assert layer.components(tau) == (k, k)


def test_a_decoder_is_given_the_text_one_token_later(model, data, tmp_path, capsys):
    size = {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_heads": 2, "num_layers": 1, "vocab_size": 30}
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    config = transformers.T5Config(**size, decoder_start_token_id=7)
    for one in (transformers.T5Model(config), tokenizer):
        one.save_pretrained(tmp_path / "t5")
    network = transformers.T5Model.from_pretrained(tmp_path / "t5").eval()
    layers = ("--layers", "encoder.block.0,decoder.block.0", "--axes", "NTC", "--thresholds", "0.5,0.9")
    out = tmp_path / "x.arrow"
    assert run(tmp_path / "t5", data, out, "--weights", "default", *layers, "--batch-size", "5") == 0
    given = {"encoder": [], "decoder": []}
    for part, rows in given.items():
        block = getattr(network, part).block[0]
        block.register_forward_hook(lambda module, inputs, output, rows=rows: rows.append(output[0][0]))
    for text in texts(39):
        if text.strip():
            tokens = tokenizer(text, return_tensors="pt").input_ids
            later = torch.cat([torch.tensor([[7]]), tokens[:, :-1]], 1)
            with torch.no_grad():
                network(input_ids=tokens, decoder_input_ids=later)
    for layer, rows in zip(streamspread.read(out).values(), given.values(), strict=True):
        x_ND = torch.cat(rows).double().numpy()
        values = np.linalg.eigvalsh(np.cov(x_ND.T))[::-1]
        assert layer.samples == len(x_ND)
        np.testing.assert_allclose(layer.eigenvalues, values, rtol=1e-4, atol=1e-6 * values[0])
        for tau in (0.5, 0.9):
            assert layer.components(tau) == int(np.searchsorted(np.cumsum(values), tau * values.sum())) + 1


@pytest.mark.parametrize(("view", "counted"), [("position", None), ("pooled", 31)])
def test_layers_are_compared_by_the_tokens_that_count(model, data, capsys, view, counted):
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    lengths = [min(LONGEST, len(tokenizer(text).input_ids)) for text in texts(39) if text.strip()]
    layers = "encoder.layer.0.output,encoder.layer.1.output"
    line = [
        "cka",
        "--model",
        f"hf:{model}",
        "--weights",
        "default",
        "--data",
        f"hf:{data}",
        "--device",
        "cpu",
    ]
    assert main([*line, "--view", view, "--layers", layers, "--batch-size", "7", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert f"linear CKA over {counted or sum(lengths)} samples" in out
    assert f"encoder.layer.1.output@{view}" in out


def test_some_texts_are_drawn_and_random_weights_follow_the_seed(model, data, tmp_path, capsys):
    more = ("--weights", "none", "--samples", "20", "--with-random", "--layers", "encoder.layer.0.output")
    assert run(model, data, tmp_path / "x.arrow", *more) == 0
    found = streamspread.read(tmp_path / "x.arrow")
    assert "/set train, 20 of 40 texts (seed 0)" in found.provenance["data"]
    assert [layer.dim for layer in found.values()] == [12]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "patches"], "data 'patches' has images, and texts are needed, as of hf:NAME"),
        (["--image-size", "8"], "takes texts: not --image-size"),
        (["--split", "test"], "has no split test; it has train"),
        (["--samples", "50"], "50 samples asked for, but there are 40"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(model, data, tmp_path, capsys, more, message):
    assert run(model, data, tmp_path / "x.arrow", "--weights", "none", *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_neither_data_nor_a_tokenizer_nor_texts(model, data, tmp_path, capsys):
    assert main(["run", "--model", f"hf:{model}", "--weights", "none"]) == 2
    assert "takes texts: a data set of texts is given by --data hf:NAME" in " ".join(
        capsys.readouterr().err.split()
    )
    for file in model.glob("tokenizer*"):
        file.unlink()
    assert run(model, data, tmp_path / "x.arrow", "--weights", "none") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"the tokenizer of '{model}': no vocabulary lies with the model" in error


def test_views_of_whole_texts_say_that_tokens_differ(model, data, tmp_path, capsys):
    assert (
        run(model, data, tmp_path / "x.arrow", "--weights", "none", "--view", "whole", "--batch-size", "3")
        == 2
    )
    assert "all samples must have one shape, texts one length" in capsys.readouterr().err


def test_data_sets_without_texts_or_with_empty_ones_alone_are_refused(model, tmp_path, capsys):
    for rows, message in (
        ({"text": ["", " ", None]}, "all of its 3 texts are empty"),
        ({"number": [1, 2]}, "has no column of texts, but number"),
    ):
        kind = hugging_face.Value("string" if "text" in rows else "int64")
        features = hugging_face.Features({name: kind for name in rows})
        hugging_face.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / message[:9])
        assert run(model, tmp_path / message[:9], tmp_path / "x.arrow", "--weights", "none") == 2
        assert message in " ".join(capsys.readouterr().err.split())
