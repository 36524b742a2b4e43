"""Spread while a network trains
=============================

When does it come, and where? In a loop of one's own.
"""

# %%
# A network, and images with their digits.
import sys
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread

EPOCHS = 2 if "--tiny" in sys.argv else 20

images, digits = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
loader = DataLoader(TensorDataset(images, torch.tensor(digits)), batch_size=64, shuffle=True)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, stride=2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 4 * 4, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

# %%
# A look every 20 steps at the next 256 images that pass. `step` gives what was seen where a look ends.
folder = Path(tempfile.mkdtemp())
with streamspread.Monitor(model, ["0", "2"], every=20, samples=256, out=folder / "spread") as spread:
    for _ in range(EPOCHS):
        for batch, wanted in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch), wanted).backward()
            optimizer.step()
            if look := spread.step():
                print(f"steps {look.step} to {look.until}: K(0.7) = {look['2'].components(0.7)} at layer 2")

# %%
# What was seen is in two files, which a page can show: `streamspread report spread.jsonl`.
history = streamspread.read_history(folder / "spread.jsonl")
print(history)
print([float(round(reading.metrics["participation_ratio"], 1)) for reading in history.of("2")])
