"""What a network's layers come to, in sentences."""

from streamspread.reports.finding import finding
from streamspread.reports.texts import texts_in
from tests.spectra import equal_layer

TEXTS = texts_in("en")


def layers(*equal):
    return {f"c{i}": equal_layer(f"c{i}", 400, count) for i, count in enumerate(equal, start=1)}


def test_least_most_rises_and_falls():
    assert finding("net", layers(10, 40, 20), 0.5, TEXTS) == (
        "At τ = 0.5, net spreads over the smallest share of its dimensions at c1 (1.25 %), and over the "
        "largest at c2 (5.00 %). From a layer to the next of its kind the share rises at 1 of 2 steps. "
        "It falls at c2 → c3."
    )


def test_of_one_layer_nothing_is_least_or_most():
    said = finding("net", layers(10), 0.5, TEXTS)
    assert said == "At τ = 0.5, net spreads over 1.25 % of its dimensions at c1."


def test_names_with_commas_are_told_apart():
    others = {"same": layers(3, 9, 8), "same, pooled": layers(3, 9, 8)}
    assert finding("net", layers(10, 40, 20), 0.5, TEXTS, others).endswith(
        "So it does in same; same, pooled."
    )


def test_networks_that_fall_at_the_same_steps_are_named():
    others = {"same": layers(3, 9, 8), "not": layers(3, 9, 12), "more": layers(9, 8, 7)}
    assert finding("net", layers(10, 40, 20), 0.5, TEXTS, others).endswith(
        "It falls at c2 → c3. So it does in same."
    )
    assert "So it does" not in finding("net", layers(10, 20, 40), 0.5, TEXTS, others)


def test_constant_layers_are_left_out():
    assert finding("net", {"c1": equal_layer("c1", 400, 0)}, 0.5, TEXTS) == "All layers of net are constant."
