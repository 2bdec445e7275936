"""The section `extract` of params.yaml: what a pack holds."""

from typing import Literal, Self

from pydantic import Field, model_validator

from slimstream.core.schema import Fraction, Section


class ExtractParams(Section):
    """Input of the networks: RGB frames with the dense optical flow at each, or pictures alone.

    Exactly one of `fraction` (P1: 0.2·T) and `frames` (P2: a fixed number spread over the clip) is set. A
    picture file is one frame whatever they say, and its `flow` is none.
    """

    fraction: Fraction | None = Field(None, description="share of a clip's frames that is sampled")
    frames: int | None = Field(
        None,
        ge=1,
        description="frames sampled per clip, spread over it (P2: 25); a clip of fewer repeats some",
    )
    clips: int = Field(
        1,
        ge=1,
        description="equal parts a video is cut into, each sampled as a clip of its own (P2: about 5)",
    )
    size: tuple[int, int] = Field(
        (160, 160), description="height and width in pixels, before flow is computed"
    )
    flow: Literal["farneback", "dis", "none"] = Field(
        "farneback", description="how flow is computed; none: frames alone, three channels"
    )
    grey: bool = Field(False, description="frames in grey, one channel; needs flow: none")
    bits: int | None = Field(
        None,
        ge=8,
        le=16,
        description="of pictures with 16 bits, how many their camera fills (as 12), counted from the "
        "lowest; null: 16, unless all of a set are so dark that it must be fewer",
    )
    stride: int = Field(1, ge=1, description="flow from frame t to frame t + stride")
    bound: float = Field(8.0, gt=0, description="flow in pixels that uint8 saturates at")

    @model_validator(mode="after")
    def one_sampling(self) -> Self:
        if (self.fraction is None) == (self.frames is None):
            raise ValueError("set exactly one of 'fraction' and 'frames'")
        if min(self.size) < 16:
            raise ValueError("size must be at least 16 by 16 pixels")
        if self.grey and self.flow != "none":
            raise ValueError("frames in grey are packed without flow: set 'flow' to none")
        return self

    @property
    def channels(self) -> int:
        """Of a pack: r, g, b, x, y; r, g, b; or grey."""
        return 1 if self.grey else 3 if self.flow == "none" else 5

    @property
    def reach(self) -> int:
        """How many frames after a sampled one its flow needs."""
        return 0 if self.flow == "none" else self.stride
