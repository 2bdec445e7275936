"""The section `ingest` of params.yaml."""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from slimstream.core.schema import Section
from slimstream.core.simulated import SIMULATED


def holds_credentials(address: str) -> bool:
    """Whether a URL names who asks: key:secret before the host, or the signature of a presigned one."""
    signed = r"[?&](X-Amz-\w+|AWSAccessKeyId|Signature)="
    return bool(re.match(r"\w+://[^/]*@|s3://[^/]*:", address) or re.search(signed, address, re.IGNORECASE))


class RigParams(Section):
    """The simulated multiphase-flow rig (P1's plant), the source of the embedded default."""

    recordings: int = Field(10, ge=2, description="camera set-ups; each sees every state")
    clips: int = Field(4, ge=1, description="clips per recording and state")
    seconds: float = Field(3.0, gt=0, description="length of a clip")
    fps: float = Field(25.0, gt=0, description="frames per second")
    seed: int = 0


class BenchParams(Section):
    """The simulated laboratory bench (P2's actions): one clip shows one action among other movements."""

    persons: int = Field(20, ge=2, description="people; each does every action")
    videos: int = Field(2, ge=1, description="videos per person and action, each with a scene of its own")
    clips: int = Field(2, ge=1, description="clips cut from a video (P2: about 5)")
    seconds: float = Field(10.0, gt=0, description="length of the longest clips; others have half of it")
    fps: float = Field(25.0, gt=0, description="frames per second")
    seed: int = 0


class PelletsParams(Section):
    """The simulated plastic pellets under a line camera (P3's pictures)."""

    batches: int = Field(20, ge=2, description="batches of material; each has OK and NG")
    pictures: int = Field(150, ge=1, description="pictures per batch and class")
    seed: int = 0


class IngestParams(Section):
    """Where labelled clips come from."""

    source: str = Field(
        "rig", description="a folder, s3://bucket/prefix, or a simulated plant: rig, bench, pellets"
    )
    labelled: str | None = Field(
        "watched/inbox", description="folder of clips labelled in watch, which join the source; null: none"
    )
    endpoint_url: str | None = Field(
        None, description="an S3 server for clips alone; AWS_ENDPOINT_URL is for all"
    )
    columns: str | None = Field(
        None,
        description="regular expression that is searched in the path of each clip; each group with a name, "
        "as (?P<camera>cam\\d+), becomes a column",
    )
    rig: RigParams = RigParams()
    bench: BenchParams = BenchParams()
    pellets: PelletsParams = PelletsParams()

    @field_validator("columns")
    @classmethod
    def names_columns(cls, pattern: str | None) -> str | None:
        try:
            if pattern is not None and not re.compile(pattern).groupindex:
                raise ValueError("a group needs a name, as (?P<camera>cam\\d+)")
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from error
        return pattern

    @model_validator(mode="after")
    def without_credentials(self) -> Self:
        # What stands here is logged with every run.
        if holds_credentials(self.source) or holds_credentials(self.endpoint_url or ""):
            raise ValueError("credentials belong in the environment, not in an address")
        if self.columns and self.source in SIMULATED:
            raise ValueError("'columns' is for names of files; simulated clips have theirs already")
        return self
