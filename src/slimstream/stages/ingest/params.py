"""The section `ingest` of params.yaml."""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from slimstream.core.schema import Section


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


class IngestParams(Section):
    """Where labelled clips come from."""

    source: str = Field("rig", description="'rig', a folder, or s3://bucket/prefix")
    endpoint_url: str | None = Field(
        None, description="an S3 server for clips alone; AWS_ENDPOINT_URL is for all"
    )
    columns: str | None = Field(
        None,
        description="regular expression that is searched in the path of each clip; each group with a name, "
        "as (?P<camera>cam\\d+), becomes a column",
    )
    rig: RigParams = RigParams()

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
        if self.columns and self.source == "rig":
            raise ValueError("'columns' is for names of files; the clips of the rig have a column already")
        return self
