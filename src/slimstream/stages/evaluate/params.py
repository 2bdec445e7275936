"""The section `evaluate` of params.yaml."""

from pydantic import Field

from slimstream.core.schema import Section


class EvaluateParams(Section):
    resamples: int = Field(1000, ge=100, description="bootstrap resamples behind an interval")
    latency_runs: int = Field(30, ge=5, description="timed single-clip runs of the exported model")
    seed: int = 0
