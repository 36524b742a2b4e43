"""Many layers in few words: what stands for them stands for just these."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamspread.reports.text import alike, listed

VIT = [f"blocks.{n}.{part}" for n in range(12) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]
ALL = ["patch_embed.proj", *VIT, "head"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["c1", "c2"], "c1, c2"),
        (ALL, "all 50 layers"),
        ([name for name in ALL if name.endswith("mlp.fc1")], "blocks.*.mlp.fc1"),
        (ALL[:-1], "patch_embed.proj … blocks.11.mlp.fc2 (49 layers)"),
        ([n for n in ALL if "fc" in n], "blocks.*.mlp.fc1, blocks.*.mlp.fc2"),
        ([], ""),
    ],
)
def test_many_layers_are_named_by_globs_or_from_where_to_where(names, expected):
    assert listed(names, ALL) == expected


@given(st.sets(st.sampled_from(ALL), min_size=1))
def test_globs_name_these_and_no_others(chosen):
    from streamspread.reports.text import _globs

    patterns = _globs([name for name in ALL if name in chosen], ALL).split(", ")
    assert {name for name in ALL for pattern in patterns if fnmatchcase(name, pattern)} == chosen


def test_a_name_that_is_a_pattern_itself_is_written_as_it_is():
    odd = [f"[{n}].a*" for n in range(30)]
    assert "[3].a*" in listed([*odd[:10], *odd[20:]], odd).replace("[0].a* … [9].a*", "[3].a*")


def test_sentences_that_differ_in_numbers_are_one_with_the_smallest_and_the_largest():
    said = [("a", "1 tile of 1,000 numbers"), ("b", "no tile"), ("c", "1 tile of 37.5 numbers")]
    assert alike(said) == [(["a", "c"], "1 tile of 37.5 to 1,000 numbers"), (["b"], "no tile")]
    said = [("a", "8 of 4,096, in 3 passes"), ("b", "8 of 8,192, in 3 passes")]
    assert alike(said) == [(["a", "b"], "8 of 4,096 to 8,192, in 3 passes")]
