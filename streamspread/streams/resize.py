"""The size of images, square or not, and how images of other sizes are brought to it."""

from __future__ import annotations

CROPS = ("center", "squash", "border")

#: The colour of what an image has not, where a border is added: a number for each of red, green and blue.
Fill = tuple[int, int, int]


class Side(int):
    """The width in pixels of images that are square unless they have a ``height``, and how images of another
    size are brought to it, in the words of timm's ``crop_mode``. A plain number stands for itself and what is
    assumed here.

    Attributes:
        height: pixels.
        scaled: pixels, the width itself or more, to which an image is scaled before its middle is cut out;
            its height in proportion.
        mode: of scaling, as torch.nn.functional.interpolate names it, "bilinear" or "bicubic".
        crop: how: "center": until it covers these pixels, by its shorter side where they are a square;
            "squash": both sides, whatever their proportion; "border": until it lies within them, and a border
            makes up for what one side lacks.
        fill: the colour of that border.
    """

    height: int
    scaled: int
    mode: str
    crop: str
    fill: Fill

    def __new__(
        cls,
        size: int,
        scaled: int = 0,
        mode: str = "bilinear",
        crop: str = "center",
        fill: Fill = (0, 0, 0),
        height: int = 0,
    ) -> Side:
        self = super().__new__(cls, size)
        self.height = height or int(size)
        self.scaled, self.mode, self.crop, self.fill = max(int(size), scaled), mode, crop, fill
        return self

    @classmethod
    def of(cls, size: int) -> Side:
        """The size as one of these."""
        return size if isinstance(size, cls) else cls(size)

    def at(self, size: int) -> Side:
        """Images of another size, that are brought to it in the same way and proportion."""
        scaled, height = (size * each // self if self else size for each in (self.scaled, self.height))
        return Side(size, scaled, self.mode, self.crop, self.fill, height)

    def scaled_to(self, height: int, width: int) -> tuple[int, int]:
        """Height and width to which an image is scaled, rounded as torchvision and timm round them."""
        wide, tall = self.scaled, self.scaled * self.height // self if self else self.scaled
        if self.crop == "squash":
            return tall, wide
        higher = height * wide >= width * tall  # in proportion
        if self.crop == "border":
            if higher:
                return tall, max(1, round(width * tall / height))
            return max(1, round(height * wide / width)), wide
        whole = int if wide == tall else round
        if higher:
            return max(tall, whole(height * wide / width)), wide
        return tall, max(wide, whole(width * tall / height))

    def __str__(self) -> str:
        """As in "224x224 of 248 (bicubic)"."""
        cut = f" of {self.scaled}" if self.scaled != self else ""
        how = [self.mode] if self.mode != "bilinear" else []
        how += {"squash": ["squashed"], "border": ["with a border"]}.get(self.crop, [])
        return f"{self.height}x{self:d}{cut}" + (f" ({', '.join(how)})" if how else "")
