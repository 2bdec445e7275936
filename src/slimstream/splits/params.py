"""The section `split` of params.yaml."""

from typing import Self

from pydantic import Field, model_validator

from slimstream.core.schema import Fraction, Section


class SplitParams(Section):
    """Shares of train, val and test, and the groups that stay together."""

    group_by: list[str] = Field(
        [], description="columns that name a clip's group: those that agree in all of them stay together"
    )
    video: str | None = Field(
        None,
        description="column that names the video a clip was cut from: its clips stay together and vote",
    )
    train: Fraction = Field(
        0.7, description="share of train (P1: 0.7; the model is chosen on a part of it when val is 0)"
    )
    val: Fraction = Field(0.0, description="share of val; 0 carves it out of train, never out of test")
    test: Fraction = Field(0.3, gt=0, description="share of test")
    test_group: str | None = Field(None, description="leave-one-group-out: this group alone is the test part")
    given: str | None = Field(
        None,
        min_length=1,
        description="column with a split that came with the data (train, val, test), used as it is; without "
        "val, it is carved out of train",
    )
    seed: int = 0

    @model_validator(mode="after")
    def sums_to_one(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train + val + test must be 1")
        if self.given and self.test_group:
            raise ValueError("set 'given' or 'test_group', not both: each says which clips are test")
        return self
