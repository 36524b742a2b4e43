"""The report's tables of what was analysed, as rows of text."""

from streamspread.reports import sections
from streamspread.reports.collection import Collection
from streamspread.reports.texts import texts_in
from tests.spectra import equal_run


def test_what_no_network_has_is_no_column_of_the_networks():
    one = Collection([equal_run("one", {"c1": 40}, {"c1": 3})], {})
    heads = sections.networks(one, texts_in("en")).header
    assert "network" in heads
    assert not {"plan", "test accuracy"} & {*heads}
