"""What more images may still do to K, and what is estimated of it."""

from dataclasses import replace

import pytest

from streamspread.reports.build import to_markdown
from streamspread.reports.collection import Collection
from streamspread.reports.page import page_data
from streamspread.reports.rows import LayerRows
from streamspread.reports.texts import texts_in
from streamspread.results.growth import Estimate
from streamspread.results.spectra import LayerSpectrum
from streamspread.study.claims import upper_limit
from tests.spectra import equal_layer, equal_run

TEXTS = texts_in("en")
KNOWN = Estimate(120.0, 6.5, None, True, 70, 5000)
UNKNOWN = Estimate(float("nan"), float("nan"), None, False, 70, 5000)


@pytest.fixture
def estimated(monkeypatch):
    """Makes every layer's estimate the given one at τ = 0.7, and none elsewhere."""

    def put(found):
        def estimate(layer, threshold, images=None):
            return found if threshold == 0.7 else None

        monkeypatch.setattr(LayerSpectrum, "estimate", estimate)

    return put


@pytest.mark.parametrize(
    ("samples", "dim", "equal", "expected"),
    [
        (999, 65536, 100, 65536),  # too few to tell anything
        (5_001, 65536, 100, 70 / (1 - 3 * 70 / 3500)),
        (1_001, 120, 120, 120),  # never more than D
        (1_001, 65536, 100, 70 / (1 - 3 * 70 / 700)),
        (10**9, 65536, 100, 70),
    ],
)
def test_more_images_may_raise_k_the_more_the_fewer_there_are(samples, dim, equal, expected):
    assert upper_limit(equal_layer("c1", dim, equal, samples), 0.7) == pytest.approx(expected, rel=1e-6)


def test_k_in_the_reach_of_n_may_become_anything_up_to_the_directions_of_the_layer():
    few = equal_layer("c1", 65536, 700, 1_200)
    assert upper_limit(few, 0.7) == 65536
    assert upper_limit(replace(few, source_dim=1_000), 0.7) == 1_000


def test_k_of_all_images_lay_within_reach_in_every_layer_that_is_known():
    # K(0.7) over 1,000, 2,000, 4,000, 8,000 and 50,000 images of CIFAR-10, as in docs/study/all-images.
    known = {
        "c1": (77, 86, 92, 97, 99),
        "c2": (161, 193, 214, 228, 240),
        "c3": (135, 158, 174, 184, 193),
        "c4": (172, 208, 235, 250, 268),
        "c5": (149, 179, 201, 213, 226),
        "c6": (60, 66, 68, 70, 71),
    }
    for *some, whole in known.values():
        for samples, k in zip((1_000, 2_000, 4_000, 8_000), some, strict=True):
            assert upper_limit(equal_layer("c", 65536, round(k / 0.7), samples), 0.7) >= whole


@pytest.mark.parametrize(("found", "most"), [(KNOWN, 126.5), (UNKNOWN, 65536)])
def test_an_estimate_says_how_far_k_may_go(estimated, found, most):
    estimated(found)
    assert upper_limit(equal_layer("c1", 65536, 100, 5_000), 0.7) == most


@pytest.mark.parametrize(("found", "words"), [(KNOWN, "120 ± 7"), (UNKNOWN, "≥ 70")])
def test_an_estimate_has_a_column_of_its_own(estimated, found, words):
    estimated(found)
    run = equal_run("a", {"c1": 65536}, {"c1": 100}, samples=5_000)
    text = to_markdown(Collection((run,), {}), TEXTS)
    assert "| layer | no1, N = 5,000 images | no1, estimated at N → ∞ |" in text
    assert f"| c1 | 70 (0.107 %) | {words} |" in text
    assert "| K(0.7)/D | K(0.7) / K at most | K(0.7), estimated at N → ∞ |" in text
    assert "not proved. ≥ K: too few images to tell" in text
    collection = Collection((run,), {})
    data = page_data(collection, TEXTS, LayerRows.of_collection(collection, 0.7))
    assert data["runs"][0]["layers"][0]["estimates"] == {data["taus"].index(0.7): words}


def test_a_run_without_estimates_has_no_column_for_them():
    run = equal_run("a", {"c1": 65536}, {"c1": 100}, samples=5_000)
    assert "N → ∞ |" not in to_markdown(Collection((run,), {}), TEXTS)
