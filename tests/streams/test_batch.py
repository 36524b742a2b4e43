"""What a batch of named tensors is: one number of samples, padding that a mask tells, a hash of it all."""

import pytest
import torch

from streamspread.errors import DataError
from streamspread.streams.batch import Named, called, joined, mask_of, stacked
from streamspread.streams.stream import Seen


def tokens(*lengths):
    """A row of tokens for each length."""
    return [torch.arange(1, length + 1) for length in lengths]


def seen(*batches):
    hashed = Seen()
    for batch in batches:
        hashed.add(batch)
    assert hashed.samples == sum(map(len, batches))
    return hashed.text()


def test_it_is_sliced_cut_and_cast_as_a_tensor_is():
    x, ids = torch.rand(5, 3), torch.arange(10).reshape(5, 2)
    batch = Named({"x": x, "ids": ids}, {"text": "text"})
    assert (len(batch), len(batch[1:3]), [len(part) for part in batch.split(2)]) == (5, 2, [2, 2, 1])
    assert torch.equal(batch[1:3].tensors["ids"], ids[1:3])
    assert batch.nbytes == 5 * 3 * 4 + 10 * 8
    cast = batch.to("cpu", torch.float64, copy=True)
    assert {name: t.dtype for name, t in cast.tensors.items()} == {"x": torch.float64, "ids": torch.int64}
    assert cast.others == batch.others
    assert cast.tensors["ids"].data_ptr() != ids.data_ptr()
    assert batch.clone().tensors["x"].data_ptr() != x.data_ptr()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"x": torch.zeros(3, 2), "y": torch.zeros(4)}, r"one number of samples.*x \(3, 2\), y \(4,\)"),
        ({"x": torch.zeros(3, 2), "y": torch.tensor(1.0)}, r"one number of samples.*x \(3, 2\), y \(\)"),
        (
            {"input_ids": torch.zeros(3, 5), "attention_mask": torch.ones(3, 4)},
            r"attention_mask is \(3, 4\) and input_ids is \(3, 5\): a mask has a number for each token",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(tensors, said):
    with pytest.raises(DataError, match=said):
        Named(tensors)


def test_tokens_of_differing_lengths_are_padded_and_a_mask_says_so():
    batch = stacked({"input_ids": tokens(2, 4), "token_type_ids": tokens(2, 4)}, {})
    assert batch.tensors["input_ids"].tolist() == [[1, 2, 0, 0], [1, 2, 3, 4]]
    assert batch.tensors["token_type_ids"].tolist() == [[1, 2, 0, 0], [1, 2, 3, 4]]
    assert mask_of(batch).tolist() == [[True, True, False, False], [True] * 4]
    assert batch.padded
    even = stacked({"input_ids": tokens(3, 3)}, {})
    assert (even.padded, mask_of(even), mask_of(torch.zeros(3, 2))) == (False, None, None)


def test_a_mask_of_its_own_is_kept_when_tokens_are_padded():
    masks = [torch.tensor([0, 1]), torch.tensor([1, 0, 1])]
    batch = stacked({"input_ids": tokens(2, 3), "attention_mask": masks}, {})
    assert batch.tensors["attention_mask"].tolist() == [[0, 1, 0], [1, 0, 1]]
    for wrong in ([torch.ones(2), torch.ones(2)], [torch.ones(2), torch.ones(4)]):
        with pytest.raises(DataError, match=r"attention_mask is \(\d,\) for 3 tokens"):
            stacked({"input_ids": tokens(2, 3), "attention_mask": wrong}, {})


def test_rows_of_differing_shapes_are_no_tensor_where_padding_is_not_known():
    batch = stacked({"x": [torch.zeros(2), torch.zeros(3)], "y": tokens(1, 1)}, {})
    assert list(batch.tensors) == ["y"]
    assert batch.others == {"x": "of shapes (2,) and (3,), with no known padding"}


def test_batches_are_joined_by_padding_them_to_the_longest():
    parts = [stacked({"input_ids": tokens(*lengths)}, {}) for lengths in ((2, 3), (5, 5))]
    for batches in (parts, parts[::-1]):  # the second one has no mask
        whole = joined(batches)
        assert whole.tensors["input_ids"].shape == (4, 5)
        assert sorted(mask_of(whole).sum(1).tolist()) == [2, 3, 5, 5]
        assert whole.padded
    with pytest.raises(DataError, match="some samples are tensors and others have names"):
        joined([parts[0], torch.zeros(2, 5)])


def test_what_was_seen_depends_on_every_mask_and_not_on_the_batches_or_the_order_of_names():
    ids = torch.randint(0, 99, (40, 300), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(40, 300, dtype=torch.bool)
    batch = Named({"input_ids": ids, "attention_mask": mask})
    assert seen(batch) == seen(*batch.split(7)) == seen(Named({"attention_mask": mask, "input_ids": ids}))
    for place in (0, 151, 299):
        other = mask.clone()
        other[17, place] = False
        assert seen(Named({"input_ids": ids, "attention_mask": other})) != seen(batch)
    assert seen(Named({"input_ids": ids})) != seen(batch) != seen(ids)
    assert seen(Named({"tokens": ids, "attention_mask": mask})) != seen(batch)


@pytest.mark.parametrize(
    ("batch", "word"),
    [
        (torch.zeros(2, 3, 8, 8), "images"),
        (torch.zeros(2, 1, 8, 8), "images"),
        (torch.zeros(2, 9), "samples"),
        (torch.zeros(2, 40, 8, 8), "samples"),
        (Named({"input_ids": torch.zeros(2, 5, dtype=torch.int64)}), "texts"),
        (Named({"pixel_values": torch.zeros(2, 3, 8, 8), "label": torch.zeros(2)}), "images"),
        (Named({"pixel_values": torch.zeros(2, 3, 8, 8), "input_ids": torch.zeros(2, 5)}), "samples"),
        (Named({"input_values": torch.zeros(2, 500)}), "samples"),
    ],
)
def test_samples_are_called_what_they_are(batch, word):
    assert called(batch) == word


def test_tokens_of_a_decoder_are_padded_as_those_of_the_text_are():
    rows = [torch.tensor([5, 6, 7]), torch.tensor([8])]
    later = [torch.tensor([0, 5, 6]), torch.tensor([0])]
    batch = stacked({"input_ids": rows, "decoder_input_ids": later}, {})
    assert batch.tensors["decoder_input_ids"].tolist() == [[0, 5, 6], [0, 0, 0]]
