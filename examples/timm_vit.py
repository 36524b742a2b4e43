"""A vision transformer
====================

A vision transformer of timm, beside one with other weights: spread, and how alike both arrange images.
"""

# %%
# Two networks of one kind, and the same images for both.
import sys

import timm
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

import streamspread

TINY = "--tiny" in sys.argv
NAME = "vit_tiny_patch16_224"
SMALLER = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3} if TINY else {}

torch.manual_seed(0)
published = timm.create_model(NAME, pretrained=not TINY, **SMALLER)
random = timm.create_model(NAME, pretrained=False, **SMALLER)

images = torch.tensor(load_digits().images / 16, dtype=torch.float32)[: 200 if TINY else 1000, None]
images = interpolate(images, 32 if TINY else 224).expand(-1, 3, -1, -1)

# %%
# Every block's output, all tokens of an image together.
blocks = [f"blocks.{index}" for index in range(len(published.blocks))]
spectra = [streamspread.analyze(model, images, blocks, thresholds=(0.9,)) for model in (published, random)]
print(spectra[0])

# %%
# CKA needs the inner products between the images, which are streamed as well.
grams = [streamspread.grams(model, images, blocks) for model in (published, random)]
comparison = spectra[0].compare(spectra[1], grams=tuple(grams))
for name, block in comparison.items():
    print(f"{name}: K(0.9) = {block.a} and {block.b}, CKA {block.cka:.2f}")
