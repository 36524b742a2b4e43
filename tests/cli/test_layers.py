"""``layers`` of models that take something else than images."""

import json

import pytest


@pytest.fixture
def hf(tmp_path):
    """Writes the configuration of a small model of transformers; returns its spec."""
    pytest.importorskip("transformers")

    def write(kind, **more):
        small = {"model_type": kind, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
        (tmp_path / "config.json").write_text(json.dumps(small | more))
        return f"hf:{tmp_path}"

    return write


def test_the_layers_of_a_model_of_texts(cli, hf):
    code, out, err = cli("layers", "--model", hf("bert", vocab_size=20, intermediate_size=12))
    assert (code, err) == (0, "")
    assert "encoder.layer.0.intermediate.dense" in out
    assert "8×12" in out  # tokens of the example, by features


def test_a_model_whose_input_is_not_known_says_what_it_takes(cli, hf):
    spec = hf("speech_to_text", d_model=8, encoder_layers=1, decoder_layers=1, vocab_size=20)
    code, out, err = cli("layers", "--model", spec)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "takes input_features, of which no example is known: from Python, streamspread.plan" in err


@pytest.mark.parametrize(
    ("kind", "config", "layer"),
    [
        (
            "t5",
            {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_heads": 2, "num_layers": 1, "vocab_size": 20},
            "decoder.block.0.layer.1.EncDecAttention.q",
        ),
        (
            "clip",
            {
                "projection_dim": 6,
                "text_config": {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1},
                "vision_config": {
                    "hidden_size": 8,
                    "num_attention_heads": 2,
                    "num_hidden_layers": 1,
                    "image_size": 16,
                    "patch_size": 8,
                },
            },
            "visual_projection",
        ),
    ],
)
def test_a_model_that_takes_several_things_by_name_is_shown_them(cli, hf, kind, config, layer):
    code, out, err = cli("layers", "--model", hf(kind, **config), "--quiet")
    assert (code, err) == (0, "")
    (row,) = (line for line in out.splitlines() if line.startswith(f"{layer} "))
    assert row.rstrip().endswith("•")
