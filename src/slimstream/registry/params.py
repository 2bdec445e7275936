"""The section `publish` of params.yaml."""

from typing import Literal

from pydantic import Field

from slimstream.core.schema import Fraction, Section


class GateParams(Section):
    """Conditions under which a new version becomes champion."""

    margin: float = Field(0.02, ge=0, description="macro-F1 the challenger may be worse than the champion")
    max_drop: float = Field(0.05, ge=0, description="macro-F1 compression may cost against its own original")
    min_clips: int = Field(12, ge=1, description="unseen clips a comparison needs")
    min_macro_f1: Fraction = Field(0.5, description="floor for the first version")
    max_latency_ms: float = Field(10_000, gt=0, description="exported model, one clip, one thread, p95")
    min_saving: Fraction = Field(
        0.0,
        description="share of the original's time from file to answer, or of its bytes, that must be saved; "
        "0 switches it off",
    )
    max_megabytes: float = Field(50, gt=0, description="exported model file")


class PublishParams(Section):
    name: str = Field("slimstream", description="the registered model", pattern=r"^[A-Za-z0-9_-]+$")
    models: list[Literal["distilled", "pruned", "slim"]] = Field(
        ["distilled", "pruned", "slim"],
        min_length=1,
        description="which models may be published; the one with the best validation score is",
    )
    not_for: str | None = Field(
        None, description="uses that the model is not made for, in your words, for its card; null: none named"
    )
    licence: str | None = Field(
        None, description="under which the network may be used, for its card; null: none named"
    )
    gate: GateParams = GateParams()
