"""The section `search` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from slimstream.core.schema import Section

Streams = Literal["both", "rgb", "flow"]
Backbone = Literal["lite0", "lite1", "lite2"]
AXES = ("streams", "frames", "sizes", "depths", "grids", "backbones", "models")
"""Settings that are lists of values to try."""
STAGES = 7
"""Stages of EfficientNet-Lite after the stem."""


class SearchParams(Section):
    """What a network may look at, and how deep it may be: every combination of the lists is a candidate.

    A list that is null is no axis: candidates are then as `train` and `extract` say. With one candidate
    nothing is searched.
    """

    streams: list[Streams] | None = Field(
        None, description="RGB frames, optical flow or both; null: those of train.model"
    )
    frames: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="frames looked at per clip, of those packed; null: all"
    )
    sizes: list[tuple[int, int]] | None = Field(
        None, description="heights and widths that pictures are averaged to; null: extract.size"
    )
    depths: list[Annotated[int, Field(ge=1, le=STAGES)]] | None = Field(
        None, description="stages of the backbone that are kept after its stem; null: those of train.model"
    )
    grids: list[Annotated[int, Field(ge=1, le=4)]] | None = Field(
        None,
        description="rows and columns of cells over which maps are averaged, 1: the whole picture; null: "
        "that of train.model",
    )
    backbones: list[Backbone] | None = Field(
        None, description="networks of which ImageNet weights are at hand; null: that of train.model"
    )
    models: list[str] | None = Field(
        None,
        description="networks that learn by gradient steps, with what they take of train.model_args; null: "
        "train.model",
    )
    epochs: int = Field(
        9,
        ge=1,
        description="of networks that learn by gradient steps: epochs of the last candidates, at most those "
        "of train.fit; three times as many candidates get a third of them",
    )
    trials: int | None = Field(
        None, ge=1, description="candidates that are tried of many, as Optuna samples them; null: all"
    )
    margin: float = Field(
        0.02, ge=0, lt=1, description="macro-F1 that the chosen one may lose against the best, at most"
    )
    strength: float = Field(0.01, gt=0, description="inverse strength of the L2 penalty of the classifiers")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples behind the bound of a loss")
    clips_timed: int = Field(3, ge=1, description="raw clips of which decoding and flow are timed")
    latency_runs: int = Field(
        10, ge=5, description="timed single-clip runs of each network; the fastest counts"
    )

    @property
    def active(self) -> bool:
        """Whether any list is given."""
        return any(getattr(self, axis) is not None for axis in AXES)

    @field_validator(*AXES)
    @classmethod
    def not_empty(cls, given: list[object] | None) -> list[object] | None:
        if given is not None and not given:
            raise ValueError("the list is empty: name candidates, or set it to null to leave it as it is")
        return given
