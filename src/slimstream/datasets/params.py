"""The settings `augment` of every training."""

from pydantic import Field

from slimstream.core.schema import Fraction, Section


class AugmentParams(Section):
    """P1's augmentation; one draw for all frames of a clip and both streams."""

    crop: Fraction = Field(0.8, gt=0, description="smallest side kept by a random crop; 1 switches it off")
    hflip: Fraction = Field(0.5, description="probability of a left-right flip")
    vflip: Fraction = Field(0.0, description="probability of an upside-down flip (P1)")
    brightness: Fraction = Field(0.0, description="largest change of brightness and contrast, RGB only")

    @property
    def active(self) -> bool:
        """Whether any of it is switched on."""
        return self.crop < 1 or bool(self.hflip or self.vflip or self.brightness)
