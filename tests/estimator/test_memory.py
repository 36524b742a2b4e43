"""The memory that is named holds what a fit takes beside the data and the results."""

import json
from pathlib import Path

import pytest

from tests.fresh import output_of

FIT = """
import json, sys, warnings
import numpy as np, torch
import streamspread
from streamspread.estimator.probabilistic import Choice
from streamspread.accumulators.float64.running import Resources
from streamspread.system.memory import PeakMeter

method, samples, dim, count, step, memory = json.loads(sys.argv[1])
warnings.simplefilter("ignore")  # a sketch says that it is one
rng = np.random.default_rng(0)
streamspread.PCA(2, method=method).fit(rng.normal(size=(300, 200)))  # what libraries take once,
streamspread.PCA(method="covariance").fit(rng.normal(size=(1000, 800)))  # and the buffers of large products
x = rng.normal(size=(samples, dim)) * np.arange(1, dim + 1) ** -0.5
least = Resources(torch.device("cpu"), 0, method, None, Choice(count))
fits = {"covariance": lambda: least.covariance_bytes(dim), "gram": lambda: least.inner_bytes(samples)}
memory = memory << 20 if memory else fits[method]()
pca = streamspread.PCA(count, method=method, memory=memory)
with PeakMeter(torch.device("cpu")) as meter:
    if step:
        for begin in range(0, samples, step):
            pca.partial_fit(x[begin : begin + step])
    else:
        pca.fit(x)
    results = pca.components_.nbytes
print(json.dumps([memory, meter.peak - results, pca.exact_]))
"""

ROOM = 8 << 20  # what allocators round up, and threads take; a matrix of order 1,500 has 17 MiB


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("method", "samples", "dim", "count", "step", "memory"),
    [
        ("covariance", 4000, 1500, None, 0, None),
        ("covariance", 4000, 1500, 0.9, 240, None),
        ("covariance", 3000, 2200, 20, 0, None),
        ("gram", 600, 20_000, 20, 0, None),
        ("gram", 600, 20_000, None, 0, None),
        ("sketch", 1500, 20_000, 20, 0, 60),
        ("sketch", 1500, 20_000, 20, 70, 60),
        ("sketch", 2000, 2000, 20, 0, 60),
    ],
)
def test_a_fit_keeps_within_the_memory(method, samples, dim, count, step, memory):
    given, beside, exact = json.loads(output_of(FIT, json.dumps([method, samples, dim, count, step, memory])))
    assert exact == (method != "sketch")
    assert 0.3 * given < beside <= given + ROOM
