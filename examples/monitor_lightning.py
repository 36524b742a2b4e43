"""Spread while Lightning trains
=============================

The same as a callback, which logs to the trainer's loggers too.
"""

# %%
# A module as Lightning trains it, and images with their digits.
import logging
import sys
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from streamspread import Monitor

EPOCHS = 1 if "--tiny" in sys.argv else 20
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.simplefilter("ignore")


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.head = nn.Linear(32 * 4 * 4, 10)

    def training_step(self, batch, index):
        images, digits = batch
        features = self.second(self.first(images).relu()).relu()
        return nn.functional.cross_entropy(self.head(features.flatten(1)), digits)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


images, digits = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
loader = DataLoader(TensorDataset(images, torch.tensor(digits)), batch_size=64)

# %%
# The callback. In several processes a window is of all of them together.
torch.manual_seed(0)
spread = Monitor.lightning(["first", "second"], every=20, samples=256, out=None)
trainer = lightning.Trainer(
    max_epochs=EPOCHS,
    accelerator="cpu",
    callbacks=[spread],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Digits(), loader)

# %%
# What was seen.
for reading in spread.monitor.history.readings:
    print(f"step {reading.step}, {reading.layer}: K(0.7) = {reading.components(0.7)} of {reading.dim}")
