"""params.yaml as types: one section a stage, every field with its unit, nothing misspelt gets through.

A section lies beside the stage that owns it (`stages/<stage>/params.py`), or in the room below that several
stages need it from. No stage depends on this file, so a section that is added makes none run again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from slimstream.clips.params import ExtractParams
from slimstream.core.schema import Section, load
from slimstream.registry.params import PublishParams
from slimstream.splits.params import SplitParams
from slimstream.stages.baseline.params import BaselineParams
from slimstream.stages.distill.params import DistillParams
from slimstream.stages.evaluate.params import EvaluateParams
from slimstream.stages.export.params import ExportParams
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.refit.params import RefitParams
from slimstream.stages.search.params import SearchParams
from slimstream.stages.validate.params import ValidateParams
from slimstream.training.params import TrainParams

TeacherName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Params(Section):
    """The whole of params.yaml."""

    recipe: str = "rig"
    ingest: IngestParams = IngestParams()
    validate_: ValidateParams = Field(ValidateParams(), alias="validate")
    extract: ExtractParams = ExtractParams(frames=16)
    split: SplitParams = SplitParams()
    search: SearchParams = SearchParams()
    baseline: BaselineParams = BaselineParams()
    train: TrainParams = TrainParams()
    teachers: dict[TeacherName, TrainParams] = Field(
        {}, description="networks that only teach, by a name of yours"
    )
    prune: PruneParams = PruneParams(rate=0.5)
    distill: DistillParams = DistillParams()
    refit: RefitParams = RefitParams()
    export: ExportParams = ExportParams()
    evaluate: EvaluateParams = EvaluateParams()
    publish: PublishParams = PublishParams()

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    removed: ClassVar[Mapping[str, str]] = {
        "sweep": "'prune.rate: auto' tries the rates of prune.rates and chooses one; delete the section."
    }

    def section(self, name: str) -> Any:
        """The section or the single setting `name`, as "extract" or "ingest.source"."""
        found: Any = self
        for part in name.split("."):
            fields = {field.alias or key: key for key, field in type(found).model_fields.items()}
            found = getattr(found, fields[part])
        return found


def load_params(path: Path) -> Params:
    """Read `path`; raise UserError, naming the field and the mend, when it does not fit."""
    return load(path, Params, "run in the project's root, or make it there: python -m flows.recipe rig.")
