"""Spread while transformers trains
================================

The same as a callback of Hugging Face's Trainer, by token: padding does not count.
"""

# %%
# Texts that are tokenised already, of two kinds: whether many of their tokens are small.
import sys
import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from streamspread import Monitor

STEPS = 12 if "--tiny" in sys.argv else 500
VOCABULARY, LONGEST = 200, 24

draw = torch.Generator().manual_seed(0)
data = []
for number in range(512):
    length = int(torch.randint(8, LONGEST + 1, (), generator=draw))
    tokens = torch.zeros(LONGEST, dtype=torch.int64)
    high = VOCABULARY if number % 2 else VOCABULARY // 2
    tokens[:length] = torch.randint(5, high, (length,), generator=draw)
    mask = (torch.arange(LONGEST) < length).long()
    data.append({"input_ids": tokens, "attention_mask": mask, "labels": number % 2})

# %%
# A small BERT, and a look every 5 steps at the next 64 texts.
set_seed(0)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
    )
)
spread = Monitor.transformers(
    ["bert.encoder.layer.?"], every=5, samples=64, view="position", axes="NTC", out=None
)
arguments = TrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=STEPS,
    per_device_train_batch_size=32,
    learning_rate=1e-3,
    report_to=[],
    logging_strategy="no",
    save_strategy="no",
    disable_tqdm=True,
    use_cpu=True,
)
trainer = Trainer(model, arguments, train_dataset=data, callbacks=[spread])
trainer.pop_callback(PrinterCallback)
trainer.train()

# %%
# A sample is a token; 64 texts have so many.
for reading in spread.monitor.history.readings:
    found = reading.components(0.7)
    print(f"step {reading.step}, {reading.layer}, {reading.samples} tokens: K(0.7) = {found}")
