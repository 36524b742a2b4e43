"""PCA in a Pipeline
=================

PCA within a scikit-learn Pipeline, of a table on disk that need not fit into memory.
"""

# %%
# A table as a memory map: rows of many features, of which few directions carry nearly all that varies.
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import streamspread

ROWS, FEATURES, HIDDEN = (600, 500, 8) if "--tiny" in sys.argv else (4_000, 400_000, 40)
MEMORY = "1GiB"

rng = np.random.default_rng(0)
directions = rng.standard_normal((HIDDEN, FEATURES), dtype=np.float32)
hidden = rng.standard_normal((ROWS, HIDDEN), dtype=np.float32) * np.linspace(3, 1, HIDDEN, dtype=np.float32)
classes = (hidden[:, 0] + hidden[:, 1] > 0).astype(int)

folder = tempfile.TemporaryDirectory()
table = np.memmap(Path(folder.name) / "table", np.float32, mode="w+", shape=(ROWS, FEATURES))
for begin in range(0, ROWS, 100):
    rows = hidden[begin : begin + 100] @ directions
    table[begin : begin + 100] = rows + rng.standard_normal(rows.shape, dtype=np.float32)
table.flush()

# %%
# As many components as 90 % of the variance take, found while the rows stream by.
pipeline = make_pipeline(streamspread.PCA(0.9, memory=MEMORY), LogisticRegression())
pipeline.fit(table[: ROWS // 2], classes[: ROWS // 2])
right = pipeline.score(table[ROWS // 2 :], classes[ROWS // 2 :])

# %%
# What was found.
pca = pipeline[0]
print(f"{pca.n_components_} components of {FEATURES:,} features, K(0.9) = {pca.components_interval(0.9)}")
print(f"they hold {pca.explained_variance_ratio_.sum():.0%} of the variance")
print(f"{right:.0%} of the other rows are told right")
del table
folder.cleanup()
