"""Rows of views made one index at a time, and a network with outputs of every layout."""

import torch
from torch import nn


def rows_by_hand(x, axes, name, keep=None):
    """The rows of a view; ``keep`` (N, P): which places of a sample count."""
    rows = []
    for n in range(x.shape[axes.index("N")]):
        whole = x.select(axes.index("N"), n)
        image = whole.movedim(axes.replace("N", "").index("C"), -1)
        places = image.reshape(-1, image.shape[-1])
        kept = places if keep is None else places[keep[n]]
        if name == "whole":
            rows.append(whole.flatten())
        elif name == "position":
            rows += list(kept)
        elif name == "pooled":
            rows.append(kept.double().mean(0))
        else:
            rows.append(kept.amax(0))
    return torch.stack(rows)


LAYOUTS = {"maps": "NCHW", "last": "NHWC", "tokens": "NTC", "first": "TNC", "line": "NCL", "volume": "NCDHW"}


class Layouts(nn.Module):
    """Takes (N, 3, 6, 6); its parts have outputs of the axes in ``LAYOUTS``."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 7, 3)
        self.last = nn.Linear(7, 6)
        self.tokens = nn.LayerNorm(6)
        self.first = nn.GRU(6, 8)
        self.line = nn.Conv1d(8, 5, 2)
        self.volume = nn.Conv3d(1, 4, 2)

    def forward(self, x_NCHW):
        x_NHWC = self.last(self.maps(x_NCHW).relu().movedim(1, -1))
        x_TNC, _ = self.first(self.tokens(x_NHWC.flatten(1, 2)).transpose(0, 1))
        x_NCL = self.line(x_TNC.permute(1, 2, 0))
        return self.volume(x_NCL.unflatten(2, (5, 3))[:, None])
