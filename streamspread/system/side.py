"""The size of square images, and how images of other sizes are brought to it."""

from __future__ import annotations

CROPS = ("center", "squash", "border")

#: The colour of what an image has not, where a border is added: a number for each of red, green and blue.
Fill = tuple[int, int, int]


class Side(int):
    """A side in pixels of square images, and how images of another size are brought to it, in the words of
    timm's ``crop_mode``. A plain number stands for itself and what is assumed here.

    Attributes:
        scaled: pixels, the side itself or more, to which an image is scaled before its middle is cut out.
        mode: of scaling, as torch.nn.functional.interpolate names it, "bilinear" or "bicubic".
        crop: what is scaled to so many pixels: "center": the shorter side; "squash": both, whatever their
            proportion; "border": the longer one, and a border makes up for what the other lacks.
        fill: the colour of that border.
    """

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
    ) -> Side:
        self = super().__new__(cls, size)
        self.scaled, self.mode, self.crop, self.fill = max(int(size), scaled), mode, crop, fill
        return self

    @classmethod
    def of(cls, size: int) -> Side:
        """The size as one of these."""
        return size if isinstance(size, cls) else cls(size)

    def at(self, size: int) -> Side:
        """Images of another size, that are brought to it in the same way and proportion."""
        scaled = size * self.scaled // self if self else size
        return Side(size, scaled, self.mode, self.crop, self.fill)

    def scaled_to(self, height: int, width: int) -> tuple[int, int]:
        """Height and width to which an image is scaled, rounded as torchvision and timm round them."""
        if self.crop == "squash":
            return self.scaled, self.scaled
        if self.crop == "border":
            longer = max(height, width)
            return max(1, round(height * self.scaled / longer)), max(1, round(width * self.scaled / longer))
        shorter = min(height, width)
        return max(self.scaled, self.scaled * height // shorter), max(
            self.scaled, self.scaled * width // shorter
        )

    def __str__(self) -> str:
        """As in "224x224 of 248 (bicubic)"."""
        cut = f" of {self.scaled}" if self.scaled != self else ""
        how = [self.mode] if self.mode != "bilinear" else []
        how += {"squash": ["squashed"], "border": ["with a border"]}.get(self.crop, [])
        return f"{self:d}x{self:d}{cut}" + (f" ({', '.join(how)})" if how else "")
