"""What results offer beside numbers is done by functions elsewhere, of which each has a short text."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import streamspread
from streamspread.results.base import HOMES, Shown, elsewhere
from streamspread.results.spectra import Spectra
from tests.fresh import loaded_by
from tests.spectra import complete, equal_layer, mixed_spectra, wide_layer


@pytest.mark.parametrize("name", HOMES)
def test_every_function_is_where_it_is_said_to_be(name):
    assert elsewhere(name) is getattr(import_module(HOMES[name]), name)
    assert elsewhere(name).__doc__


def test_every_printer_is_known():
    def below(kind):
        return {kind}.union(*map(below, kind.__subclasses__()))

    import streamspread.api.layers
    import streamspread.engine.plan  # noqa: F401 - for the classes in them

    printers = {kind.printer for kind in below(Shown) if "printer" in vars(kind)}
    assert len(printers) == 6
    assert printers <= set(HOMES)


def test_results_load_no_library_before_they_are_asked():
    loaded = loaded_by("from streamspread.results.spectra import Spectra\nrepr(Spectra([]))")
    assert loaded & {"pandas", "polars", "pyarrow", "matplotlib", "rich", "torch"} == set()


def test_texts_are_short():
    assert repr(complete([4.0, 3.0, 2.0, 1.0])) == "Spectrum(D = 4, N = 1,000, K(0.7) = 2)"
    assert (
        repr(wide_layer()) == "LayerSpectrum(c1: D = 65,536, N = 50,000, K(0.7) = 611…616, covariance fp16)"
    )
    many = Spectra([equal_layer(f"c{n}", 100, 10) for n in range(1, 101)])
    assert len(repr(many)) < 300
    assert repr(many).endswith("c5: K(0.7) = 7 of 100, … 94 more …, c100: K(0.7) = 7 of 100)")
    assert repr(Spectra([])) == "Spectra()"


def test_what_is_saved_is_read(tmp_path):
    spectra = mixed_spectra()
    spectra.save(tmp_path / "x.arrow")
    again = streamspread.read(tmp_path / "x.arrow")
    assert again.provenance == spectra.provenance
    np.testing.assert_array_equal(again["features.0"].eigenvalues, spectra["features.0"].eigenvalues)


def test_a_result_can_still_be_changed_in_a_copy():
    assert replace(wide_layer(), layer="c9").layer == "c9"
