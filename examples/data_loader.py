"""A DataLoader, a file and a page
===============================

Images as they are read, through a known network: what it would take, the result, a file, and a page.
"""

# %%
# A data set that makes an image when it is asked for one, and a loader.
import sys
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18

import streamspread

TINY = "--tiny" in sys.argv


class Digits(Dataset):
    def __init__(self, size, count):
        images, digits = load_digits(return_X_y=True)
        self.images, self.targets, self.size = images[:count], digits[:count].tolist(), size

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = torch.tensor(self.images[index] / 16, dtype=torch.float32).reshape(1, 1, 8, 8)
        return interpolate(image, self.size)[0].expand(3, -1, -1), self.targets[index]


loader = DataLoader(Digits(32, 300) if TINY else Digits(224, 1797), batch_size=64)

# %%
# A network: of torchvision, with its weights unless nothing may be downloaded.
torch.manual_seed(0)
model = resnet18(weights=None if TINY else "DEFAULT")

# %%
# What a run would take, and then the run. `memory` is a limit and not a wish.
layers = ["layer1", "layer2", "layer3", "layer4", "avgpool"]
print(streamspread.plan(model, loader, layers, memory="2GiB"))
spectra = streamspread.analyze(model, loader, layers, thresholds=(0.5, 0.9), memory="2GiB", classes=True)

# %%
# K is an interval, and a number where it is closed.
for name, layer in spectra.items():
    k = layer.components(0.9)
    share = layer.classes.between_share
    print(
        f"{name}: {int(k)} of {layer.dim:,} dimensions; {share:.0%} of the variance lies between the digits"
    )

# %%
# As a table of another library, as a file, and as a page.
table = spectra.to_polars()  # or to_pandas, or to_arrow
print(table.filter(threshold=0.5).select("layer", "low", "high").rows())
with tempfile.TemporaryDirectory() as folder:
    spectra.save(Path(folder) / "resnet18.arrow")
    again = streamspread.read(Path(folder) / "resnet18.arrow")
    page = streamspread.report(again, folder)
    print(f"{page.name} shows {len(again)} layers")
