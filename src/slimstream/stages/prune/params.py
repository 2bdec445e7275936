"""The section `prune` of params.yaml."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from slimstream.core.schema import Section
from slimstream.training.params import FitParams


def _rate(value: Any) -> Any:
    """A union of types would be refused with the name of one of them behind that of the setting."""
    try:
        if value == "auto" or 0 < float(value) < 1:
            return value if value == "auto" else float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError("must be above 0 and below 1, or auto")


Rate = Annotated[float | Literal["auto"], PlainValidator(_rate)]


class PruneParams(Section):
    """Global structured channel pruning, then fine-tuning (P1, section 3.3).

    Exactly one of `rate` and `target_params` is set, the other is null.
    """

    importance: Literal["l1", "bn_scale"] = Field(
        "l1",
        description="channels ranked by L1 norm of their weights (P1) or by batch norm's scale, which "
        "`slimming` in train.fit prepares",
    )
    heads: int | None = Field(
        None,
        ge=1,
        description="attention heads that each layer keeps, whole; null: all, and each loses channels",
    )
    rate: Rate | None = Field(
        None,
        description="share of channels removed (P1: 0.5); every layer keeps one at least. auto: that of "
        "`rates` with the smallest network whose loss is within search.margin, on clips that it has not "
        "learnt from",
    )
    rates: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.2, 0.3, 0.4, 0.5, 0.6, 0.7], min_length=1, description="the rates that `rate: auto` tries"
    )
    target_params: float | None = Field(
        None, gt=0, lt=1, description="share of parameters kept (P1's result: 0.66)"
    )
    leave: list[str] = Field(
        ["fusion", "head"],
        description="layers (fnmatch) that keep their channels; the head does so in any case",
    )
    round_to: int | None = Field(None, ge=1, description="channels are kept in multiples of this")
    restore: float | None = Field(
        None,
        gt=0,
        description="before fine-tuning, refit layers to make the original's maps again, by ridge regression "
        "of this strength (1e-3), without labels; null: as pruning left them",
    )
    restore_clips: int | None = Field(
        None, ge=1, description="train and val clips this looks at; null: all, which takes long with `frozen`"
    )
    frozen: bool = Field(
        False,
        description="whether layers that training leaves as they are lose channels too, and so most of the "
        "time: restore then has to mend them",
    )
    fit: FitParams = FitParams()

    @model_validator(mode="after")
    def one_goal(self) -> Self:
        if (self.rate is None) == (self.target_params is None):
            raise ValueError(
                "set exactly one of 'rate' and 'target_params' and leave the other null "
                "(dvc exp run -S prune.rate=0.3 -S prune.target_params=null)"
            )
        if self.frozen and self.restore is None:
            raise ValueError("'frozen' needs 'restore', for no training will mend those layers")
        return self
