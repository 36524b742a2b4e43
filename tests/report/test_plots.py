"""Results drawn: what stands on the axes, in axes that are given and in those that are made."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot, rcParams
from matplotlib.figure import Figure

from streamspread.errors import MissingError, OptionError
from streamspread.results.spectrum import Spectra
from tests.spectra import bounded, equal_layer, equal_spectra, open_layer


@pytest.fixture(autouse=True)
def _closed():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


ONE = equal_spectra({"c1": 100, "features.very.deep": 200}, {"c1": 10, "features.very.deep": 10})


def labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_a_result_is_its_spread_by_layer():
    axes = ONE.plot()
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.05, 0.025])
    assert labels(axes) == ["c1", "features.very.deep"]
    assert "K(0.5)/D" in axes.get_ylabel()
    assert axes.figure in map(pyplot.figure, pyplot.get_fignums())  # as a notebook shows by itself
    assert ONE.plot(threshold=0.7).lines[0].get_ydata()[0] == pytest.approx(0.07)


def test_several_results_share_axes_by_the_names_of_their_layers():
    axes = Figure().add_subplot()
    other = equal_spectra(
        {"features.very.deep": 200, "gap": 10}, {"features.very.deep": 20, "gap": 4}, model="no2"
    )
    assert ONE.plot(axes) is axes
    assert other.plot(axes) is axes
    assert pyplot.get_fignums() == []
    assert labels(axes) == ["c1", "features.very.deep", "gap"]
    first, second = (line for line in axes.lines if line.get_label() in ("no1", "no2"))
    assert (list(first.get_xdata()), list(second.get_xdata())) == ([0, 1], [1, 2])
    assert first.get_color() != second.get_color()


def test_views_are_a_line_each_over_the_same_layers():
    layers = [replace(equal_layer(name, 100, 10), shape=(25, 2, 2)) for name in ("c1", "c2")]
    pooled = [replace(equal_layer(f"{s.layer}@pooled", 20, 10), view="pooled") for s in layers]
    flat = replace(equal_layer("fc", 10, 5), shape=(10,))
    order = [layers[0], pooled[0], layers[1], pooled[1], flat]
    axes = Spectra(order, (0.5,), {"model": "net"}).plot()
    assert labels(axes) == ["c1", "c2", "fc"]
    lines = {line.get_label(): line for line in axes.lines if line.get_label().startswith("net")}
    assert list(lines) == ["net", "net, pooled"]
    np.testing.assert_allclose(lines["net"].get_ydata(), [0.05, 0.05, 0.3])
    np.testing.assert_allclose(lines["net, pooled"].get_ydata(), [0.25, 0.25, 0.3])


def test_an_interval_is_a_bar():
    spectra = Spectra([equal_layer("c1", 900, 10), open_layer("c2", 900, 20, 30)])
    low, high = spectra["c2"].spread(0.7)
    bars = spectra.plot().collections[0].get_segments()
    np.testing.assert_allclose(bars, [[[1, low], [1, high]]])


def test_a_layer_is_the_share_of_its_variance_over_k():
    axes = equal_layer("c1", 100, 4).plot()
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 0.25], [2, 0.5], [3, 0.75], [4, 1.0]])
    assert axes.get_xscale() == "log"
    before = len(axes.lines)
    assert bounded([3.0, 2.0], [4.0, 6.0], 8.0).plot(axes) is axes
    assert len(axes.lines) == before + 3  # the bound below, and the two edges of the band


def test_the_settings_of_matplotlib_stay_as_they_were():
    before = dict(rcParams)
    ONE.plot()
    assert dict(rcParams) == before


def test_what_cannot_be_drawn_is_said(monkeypatch):
    with pytest.raises(OptionError, match=r"thresholds must lie in \(0, 1\], got 7"):
        ONE.plot(threshold=7)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r"figures need matplotlib .*: pip install matplotlib"):
        ONE.plot()
