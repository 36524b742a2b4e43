"""A network of one's own
======================

Over how many directions do its layers spread, before and after training?
"""

# %%
# A network, and images with their digits.
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread

EPOCHS = 3 if "--tiny" in sys.argv else 30


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.head = nn.Linear(32 * 4 * 4, 10)

    def forward(self, images):
        features = self.second(self.first(images).relu()).relu()
        return self.head(features.flatten(1))


images, digits = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
data = TensorDataset(images, torch.tensor(digits))

# %%
# What can be looked at.
torch.manual_seed(0)
model = Small()
print(streamspread.layers(model, data))

# %%
# Before training, by a loader that does not shuffle. Of (images, digits) the model is given the first.
loader = DataLoader(data, batch_size=256)
before = streamspread.analyze(model, loader, thresholds=(0.7, 0.9))
print(before)

# %%
# After some training.
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(EPOCHS):
    for batch, wanted in DataLoader(data, batch_size=64, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch), wanted).backward()
        optimizer.step()
after = streamspread.analyze(model, loader, thresholds=(0.7, 0.9))

# %%
# Both beside each other. In a notebook `before.compare(after)` is a table, and `after.plot()` a figure.
for name, layer in before.compare(after, threshold=0.9).items():
    print(f"{name}: K(0.9) = {layer.a}, then {layer.b}")
