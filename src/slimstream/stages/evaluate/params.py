"""The section `evaluate` of params.yaml."""

from typing import Literal

from pydantic import Field

from slimstream.core.schema import Section

GradcamScore = Literal["logit", "softmax"]
"""The score of a class whose gradients weigh the feature maps."""


class EvaluateParams(Section):
    resamples: int = Field(1000, ge=100, description="bootstrap resamples behind an interval")
    latency_runs: int = Field(30, ge=5, description="timed single-clip runs of the exported model")
    gradcam: GradcamScore = Field(
        "logit", description="what heat maps differentiate: the logit of a class, or its softmax (P3)"
    )
    foreign: str | None = Field(
        None,
        description="folder of clips that show something else; the report tells what share of them is called "
        "unknown. null: none",
    )
    seed: int = 0
