"""The section `distill` of params.yaml."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from slimstream.core.schema import Fraction, Section
from slimstream.training.params import FitParams


class DistillParams(Section):
    """A small net learns from the original and further teachers (P3, section 2)."""

    student: Literal["pruned", "scratch"] = Field(
        "pruned", description="who learns: the pruned net, or the net before pruning, newly initialised (P3)"
    )
    temperature: float = Field(4.0, gt=0)
    weight: Fraction = Field(0.5, description="λ: 0 is plain cross-entropy, 1 the teachers alone")
    squared_temperature: bool = Field(
        True, description="whether the teachers' term is multiplied by T² (Hinton et al. 2015); P3's is not"
    )
    attention: float = Field(0.0, ge=0, description="β, weight of attention transfer; the control has none")
    views: int = Field(4, ge=1, description="augmented views of a clip whose teacher logits are cached")
    original: bool = Field(True, description="whether the original is one of the teachers")
    best: bool = Field(True, description="whether the best network of the search is one of the teachers")
    trained: list[str] | None = Field(
        None, description="which of the section `teachers` teach; null: all of them"
    )
    teachers: list[Path] = Field([], description="further model folders")
    fit: FitParams = FitParams()
