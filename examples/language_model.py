"""A language model by token
=========================

Every token is a sample of a block's features, and padding is left out.
"""

# %%
# Batches as a tokenizer gives them: tokens, and a mask that says which of them are padding.
import codecs
import contextlib
import io
import sys

import torch
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model

import streamspread

TINY = "--tiny" in sys.argv
with contextlib.redirect_stdout(io.StringIO()):
    import this  # for a text that every Python has

lines = codecs.decode(this.s, "rot13").splitlines()
lines = [line for line in lines if line]

if TINY:  # bytes for tokens and random weights, so that nothing need be downloaded
    torch.manual_seed(0)
    size = {"vocab_size": 256, "n_positions": 128, "n_embd": 48, "n_layer": 3, "n_head": 4}
    model = GPT2Model(GPT2Config(**size, bos_token_id=0, eos_token_id=0))
    tokens = [torch.tensor(list(line.encode())) for line in lines]
    padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(line) for line in tokens], batch_first=True)
    batch = {"input_ids": padded, "attention_mask": mask}
else:
    tokenizer = AutoTokenizer.from_pretrained("gpt2", pad_token="<|endoftext|>")
    model = AutoModel.from_pretrained("gpt2")
    batch = dict(tokenizer(lines, padding=True, return_tensors="pt"))

# %%
# A batch is given to the model by the names of its parts: `model(input_ids=…, attention_mask=…)`.
blocks = [f"h.{index}" for index in range(len(model.h))]
spectra = streamspread.analyze(model, lambda: iter([batch]), blocks, thresholds=(0.9,), view="position")

# %%
# As many samples as there are tokens, without padding.
print(f"{int(batch['attention_mask'].sum())} tokens in {len(lines)} lines")
for name, layer in spectra.items():
    print(f"{name}: {layer.samples} samples of {layer.dim} features, K(0.9) = {layer.components(0.9)}")
