"""The section `validate` of params.yaml."""

from pydantic import Field

from slimstream.core.schema import Fraction, Section


class ValidateParams(Section):
    """Conditions on the data set, checked before any training."""

    classes: list[str] = Field([], description="the labels there may be; empty: as found")
    max_quarantined: Fraction = Field(0.1, description="share of clips that may be lost before the run stops")
    min_clips: int = Field(3, ge=1, description="clips a class needs")
    probe_permutations: int = Field(199, ge=99, description="label permutations behind a shortcut's p-value")
    twin_distance: float = Field(
        0.01, ge=0, description="mean grey difference (0..1) below which look-alike clips are near twins"
    )
