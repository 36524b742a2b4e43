"""What results offer beside numbers is done by functions elsewhere, of which each has a short text."""

from importlib import import_module

import numpy as np
import pytest

import streamspread
from streamspread.results.base import HOMES, Shown, elsewhere
from tests.fresh import loaded_by
from tests.spectra import mixed_spectra


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


def test_what_is_saved_is_read(tmp_path):
    spectra = mixed_spectra()
    spectra.save(tmp_path / "x.arrow")
    again = streamspread.read(tmp_path / "x.arrow")
    assert again.provenance == spectra.provenance
    np.testing.assert_array_equal(again["features.0"].eigenvalues, spectra["features.0"].eigenvalues)
