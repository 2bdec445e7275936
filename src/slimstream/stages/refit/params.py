"""The section `refit` of params.yaml."""

from pydantic import Field

from slimstream.core.schema import Section


class RefitParams(Section):
    """After all choices are made, the heads learn from the validation clips as well."""

    strength: float | None = Field(
        None,
        gt=0,
        description="fit the heads of all models to train and val clips, as fit.head does with this "
        "strength; null: leave the models as they are",
    )
