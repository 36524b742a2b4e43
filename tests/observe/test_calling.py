"""How batches reach a model: what its forward takes, by name, and what is said where that is nothing."""

import functools

import pytest
import torch
from torch import nn

from streamspread.errors import DataError, OptionError
from streamspread.observe.placement import arguments, by, given, left_out
from streamspread.streams.batch import Named, stacked

X = torch.zeros(3, 2)
MASK = torch.ones(3, 2)
LABEL = torch.zeros(3, dtype=torch.int64)


def model(forward):
    """A module with that forward."""
    return type("Model", (nn.Module,), {"forward": forward})()


def wrapped(forward):
    """The same behind a decorator that takes anything."""

    @functools.wraps(forward)
    def through(*args, **kwargs):
        return forward(*args, **kwargs)

    return model(through)


TEXT = lambda self, input_ids, attention_mask=None, labels=None: input_ids  # noqa: E731
ANY = lambda self, *args, **kwargs: args  # noqa: E731


@pytest.mark.parametrize(
    ("forward", "names", "by_place", "by_name"),
    [
        (TEXT, ["input_ids", "attention_mask"], 0, ["input_ids", "attention_mask"]),
        (TEXT, ["input_ids", "idx"], 0, ["input_ids"]),
        (TEXT, ["input_ids", "label"], 0, ["input_ids"]),
        (TEXT, ["input_ids", "labels"], 0, ["input_ids", "labels"]),
        (lambda self, x: x, ["image", "label"], 1, []),
        (lambda self, x: x, ["x", "attention_mask"], 0, ["x"]),
        (lambda self, x, /: x, ["x"], 1, []),
        (lambda self, x, y: x, ["y", "x", "z"], 0, ["y", "x"]),
        (ANY, ["input_ids", "attention_mask", "labels"], 0, ["input_ids", "attention_mask"]),
        (ANY, ["image", "label"], 1, []),
        (lambda self, **kwargs: kwargs, ["image", "label"], 0, ["image"]),
        (lambda self, x, **kwargs: x, ["x", "attention_mask"], 0, ["x", "attention_mask"]),
    ],
)
def test_what_a_forward_is_given(forward, names, by_place, by_name):
    batch = Named({name: X for name in names})
    for one in (model(forward), wrapped(forward), nn.DataParallel(model(forward))):
        args, kwargs = arguments(one, batch)
        assert (len(args), list(kwargs)) == (by_place, by_name)
        given(one.module if isinstance(one, nn.DataParallel) else one, batch)


@pytest.mark.parametrize(
    ("forward", "batch", "said"),
    [
        (
            lambda self, x, k=1: x,
            Named({"image": X, "depth": X, "label": LABEL}),
            r"forward takes x, k, and the batches have image \(3, 2\), depth \(3, 2\), label \(3,\): rename",
        ),
        (lambda self, x: x, Named({"label": LABEL}), r"forward takes x, and the batches have label \(3,\)"),
        (
            TEXT,
            Named({"attention_mask": MASK}, {"input_ids": "a list, text"}),
            "forward takes input_ids, which is a list, text: give numbers, or say how",
        ),
        (
            lambda self, input_ids: input_ids,
            stacked({"input_ids": [torch.ones(2), torch.ones(3)]}, {}),
            "samples of differing lengths were padded, and the model's forward takes no attention_mask",
        ),
    ],
)
def test_what_no_forward_takes_is_refused_with_both_sides(forward, batch, said):
    with pytest.raises(DataError, match=said):
        arguments(model(forward), batch)


def test_what_is_not_given_is_known():
    batch = Named({"x": X, "attention_mask": MASK.clone(), "label": LABEL})
    assert left_out(model(lambda self, x: x), batch) == ("attention_mask",)
    assert left_out(model(lambda self, x, attention_mask: x), batch) == ()
    assert left_out(model(lambda self, x: x), X) == ()


def test_a_forward_of_ones_own_gets_the_tensors_by_name():
    got = []
    call = by(lambda model, batch: got.append(batch))
    call(nn.Identity(), Named({"x": X, "label": LABEL}))
    call(nn.Identity(), X)
    assert list(got[0]) == ["x", "label"]
    assert got[1] is X
    with pytest.raises(OptionError, match="forward must be a callable of a model and a batch, got int"):
        by(3)
