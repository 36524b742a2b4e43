"""Augmentation: which images come out, and that they are the ones asked for."""

import torch

from streamspread.training.trainer import augment


def test_augmented_images_are_shifted_reflected_and_mirrored_ones():
    count = 300
    image = torch.randint(
        0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    image = image.contiguous(memory_format=torch.channels_last)
    out = augment(image, torch.ones(count, dtype=torch.int64), torch.Generator().manual_seed(1))
    assert out.shape == (count, 3, 32, 32)
    assert out.dtype == torch.uint8
    assert out.is_contiguous(memory_format=torch.channels_last)
    padded = torch.nn.functional.pad(image[1].float(), (4, 4, 4, 4), mode="reflect").to(torch.uint8)
    crops = {}  # every crop that may come out, by its bytes
    for down in range(9):
        for right in range(9):
            crop = padded[:, down : down + 32, right : right + 32]
            crops[crop.numpy().tobytes()] = (down, right, False)
            crops[crop.flip(2).contiguous().numpy().tobytes()] = (down, right, True)
    drawn = [crops[one.contiguous().numpy().tobytes()] for one in out]
    assert {down for down, _, _ in drawn} == set(range(9))
    assert {choice[1:] for choice in drawn} == {(right, flip) for right in range(9) for flip in (False, True)}
    assert 0.35 < sum(mirrored for *_, mirrored in drawn) / count < 0.65
