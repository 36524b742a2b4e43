"""A made-up spread over a training, of which one layer is open once, and one tells nothing once."""

from streamspread.results.history import Components, History, Reading


def reading(step, layer, low, high=None, note=""):
    found = () if note else (Components(0.7, low, high or low, limited=layer == "c2"),)
    return Reading(
        step=step,
        until=step + 3,
        layer=layer,
        shape=(10, 20),
        dim=200,
        samples=64,
        images=64,
        method="gram",
        components_at=found,
        metrics={"participation_ratio": 3.25},
        note=note,
    )


def history():
    rows = [reading(step, layer, 10 + step // 100) for step in (0, 1, 400) for layer in ("c1", "c2")]
    broken = [reading(800, "c1", 15, 18), reading(800, "c2", 0, note="NaN in the activation")]
    return History([*rows, *broken], {"model": "no1", "schedule": "every 400 steps"})
