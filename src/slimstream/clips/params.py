"""The section `extract` of params.yaml: what a pack holds; and what a network looks at of it."""

from typing import Literal, Self

from pydantic import Field, model_validator

from slimstream.core.schema import Fraction, Section

FLOW_CHANNELS = 2
"""Flow x and flow y."""


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


class Reduction(Section):
    """What a network looks at of a pack: fewer frames, smaller pictures, one of the two streams."""

    frames: int | None = Field(
        None, ge=1, description="frames kept of a clip, spread evenly (1: the middle one); null: all"
    )
    size: tuple[int, int] | None = Field(
        None,
        description="height and width that each kept frame and its flow are averaged to; null: as packed",
    )
    streams: Literal["both", "rgb", "flow"] = Field(
        "both", description="rgb: the frames without their flow; flow: flow x and flow y without the frames"
    )


class NetworkInput(ExtractParams):
    """How a raw clip becomes the input of one network: a pack, of which the network may see a part.

    The kept frames are frames of the pack, so `reach` is that of the pack even where no flow is seen.
    """

    reduce: Reduction | None = Field(None, description="what the network looks at of a pack; null: all")

    @classmethod
    def of(cls, extract: ExtractParams, reduce: Reduction | None = None) -> Self:
        """The input of a network that sees all of a pack, or what `reduce` leaves of it.

        Raises ValueError when packs made with `extract` cannot serve `reduce`.
        """
        if isinstance(extract, cls) and reduce is None:
            return extract
        settings = {name: getattr(extract, name) for name in ExtractParams.model_fields}
        return cls.model_validate({**settings, "reduce": reduce})

    @model_validator(mode="after")
    def within_the_pack(self) -> Self:
        r = self.reduce or Reduction()
        if r.size is not None and min(r.size) < 16:
            raise ValueError("reduce.size must be at least 16 by 16 pixels")
        if r.size is not None and (r.size[0] > self.size[0] or r.size[1] > self.size[1]):
            raise ValueError(
                f"reduce.size {list(r.size)} is larger than the packed pictures, {list(self.size)}"
            )
        if r.frames is not None and self.frames is not None and r.frames > self.frames:
            raise ValueError(f"reduce.frames {r.frames} is more than the {self.frames} frames of a pack")
        if r.streams == "flow" and self.flow == "none":
            raise ValueError("reduce.streams is flow, and the packs have none: 'flow' is none")
        return self

    @property
    def channels(self) -> int:
        """Of what the network sees: those of a pack; r, g, b or grey without flow; or flow x and y."""
        streams = self.reduce.streams if self.reduce else "both"
        packed = super().channels
        return {"both": packed, "rgb": min(3, packed), "flow": FLOW_CHANNELS}[streams]

    @property
    def whole(self) -> Self:
        """The input of a network that sees all of the same packs."""
        return self.model_copy(update={"reduce": None})

    @property
    def shown_size(self) -> tuple[int, int]:
        """Height and width in pixels of the pictures that the network sees."""
        return (self.reduce and self.reduce.size) or self.size

    @property
    def sees_flow(self) -> bool:
        """Whether flow must be computed."""
        return self.flow != "none" and (self.reduce is None or self.reduce.streams != "rgb")
