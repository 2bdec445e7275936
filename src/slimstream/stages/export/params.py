"""The section `export` of params.yaml."""

from pydantic import Field, field_validator

from slimstream.core.schema import Fraction, Section
from slimstream.runtimes import RUNTIMES


class ExportParams(Section):
    """Forms of the networks for deployment."""

    runtimes: list[str] = Field(
        default_factory=lambda: list(RUNTIMES),
        description="the forms there is a choice of; onnx is always among them",
    )
    max_changed: Fraction = Field(
        0.01, description="share of clips that a coarser form may label otherwise than the network"
    )
    calibration_clips: int = Field(64, ge=1, description="training clips that give 8-bit numbers their range")
    keep: Fraction | None = Field(
        0.95,
        description="share of the clips of groups it has not learnt from that a network may not answer with "
        "`unknown`; null: it never does",
    )
    latency_runs: int = Field(20, ge=5, description="timed single-clip runs of each form")

    @field_validator("runtimes")
    @classmethod
    def known(cls, names: list[str]) -> list[str]:
        if unknown := sorted(set(names) - set(RUNTIMES)):
            raise ValueError(f"there is no runtime {unknown[0]!r}; choose among {', '.join(RUNTIMES)}")
        return names
