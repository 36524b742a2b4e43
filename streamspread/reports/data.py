"""What is known of a run's data: how it is called, whether two runs saw the same, whether it is CIFAR-10."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

# In the description of a named source.
_COUNTED = re.compile(r", [\d,]+ (?:of [\d,]+ )?(?:images|texts)")
_SIZE = re.compile(r", at (\d+x\d+)")
_CIFAR10 = re.compile(r"cifar[-_]?10(?:[-_]?jpe?g)?", re.IGNORECASE)
_CIFAR10_SIZE = "32x32"


class Difference(NamedTuple):
    """Why two runs cannot be compared, and what it is in either.

    ``what``: data; images (other ones, under one description); unknown (whether the data are the same);
    samples; or layers.
    """

    what: str
    a: str
    b: str


@dataclass(frozen=True)
class Data:
    """A run's data.

    Attributes:
        description: in words, as the provenance has it: "name, 5,000 of 50,000 images …, at 32x32".
        seen: a hash of what the network was given; None in files that have none.
    """

    description: str
    seen: str | None = None

    @property
    def name(self) -> str:
        """The description without the number of images: the data's name and image size."""
        name = _COUNTED.split(self.description)[0]
        size = _SIZE.search(self.description)
        return name + (size[0] if size and size.start() >= len(name) else "")

    @property
    def identified(self) -> bool:
        """Whether the description says which data they are, as that of a named source does. "tensor (100, 3,
        32, 32)", "DataLoader of Photos" or "batches from make" can be anything."""
        return _COUNTED.search(self.description) is not None

    @property
    def is_cifar10(self) -> bool:
        """Whether they are called CIFAR-10, also compressed again as JPEG, at the size that it has: a word of
        the name, or a part of the path, is that name."""
        name, _, size = self.name.partition(", at ")
        words = re.split(r"[\s/\\,]+", name)
        return size in ("", _CIFAR10_SIZE) and any(_CIFAR10.fullmatch(word) for word in words)

    def difference(self, other: Data, same_number: bool) -> Difference | None:
        """Why these are not the same data as others; None where they are.

        Where both hashes are known, of the same number of images, they decide. Else the descriptions do,
        where both identify their data.

        Args:
            same_number: whether both are of the same number of images.
        """
        if self.seen and other.seen and (same_number or self.seen == other.seen):
            if self.seen == other.seen:
                return None
            if self.name != other.name:
                return Difference("data", self.name, other.name)
            return Difference("images", self.description, other.description)
        if not (self.identified and other.identified):
            return Difference("unknown", self.name, other.name)
        return None if self.name == other.name else Difference("data", self.name, other.name)
