"""What layers hold: each measure on layers of which it is known."""

import pytest
import torch
from torch import nn

from streamspread.datasets import Labelled
from streamspread.study.experiments.measures import NOISE, measure_content, noisy, ridge


def drawn(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    pixels = torch.randint(60, 120, (count, 3, 4, 4), dtype=torch.uint8, generator=generator)
    pixels[:, 0] += (labels * 80)[:, None, None].to(torch.uint8)
    return Labelled(pixels, labels, "made")


class Layers(nn.Module):
    """The image itself, its channels' means at every place, and noise alone that no image decides."""

    def __init__(self):
        super().__init__()
        self.image, self.means, self.random = nn.Identity(), nn.Identity(), nn.Identity()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        x = self.image(images.float())
        self.means(x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4))
        self.random(torch.randn(len(x), 5, 4, 4))


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    return measure_content(Layers().eval(), ["image", "means", "random"], drawn(150), drawn(80, 1))


def test_the_image_is_told_from_itself_and_from_nothing_else(found):
    assert found["image"].image > 0.99
    assert 0.1 < found["means"].image < 0.9
    assert found["random"].image < 0.1


def test_classes_are_told_where_they_are(found):
    assert found["image"].probe == found["means"].probe == 1
    assert found["random"].probe < 0.75


def test_spatial_means_hold_all_of_what_is_the_same_everywhere(found):
    assert found["means"].mean == pytest.approx(1)
    assert found["random"].mean == pytest.approx(1 / 16, rel=0.3)


def test_noise_is_a_share_of_the_variance(found):
    others = drawn(80, 1).images.float()
    variance = (others - others.mean(0)).square().mean()
    noise = (255 * NOISE) ** 2 + 1 / 12
    assert found["image"].noise == pytest.approx(float(noise / (variance + noise)), rel=0.05)
    assert found["means"].noise < found["image"].noise / 2
    assert found["random"].noise == pytest.approx(1, rel=0.1)


def test_noise_is_drawn_once_for_a_seed_and_stays_within_the_range():
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).repeat(2000)[:, None, None, None]
    once = noisy(images, 3)
    assert torch.equal(once, noisy(images, 3))
    assert not torch.equal(once, noisy(images, 4))
    assert float(once[1::3].double().std()) == pytest.approx(255 * NOISE, rel=0.05)


def test_ridge_is_least_squares_with_the_best_of_its_penalties():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 6, generator=generator) for n in (60, 20))
    weights = torch.randn(6, 2, generator=generator)
    given = ridge(x, y, (x @ weights + 3).double())
    assert torch.allclose(given, (y @ weights + 3).double(), atol=1e-2)
