"""The section `baseline` of params.yaml."""

from typing import Any, Literal

from pydantic import Field

from slimstream.clips.params import Reduction
from slimstream.core.schema import Section


class BaselineParams(Section):
    """Frozen features and a head fitted in closed form: cheap, and always in the table."""

    model: Literal[
        "frozen_efficientnet_lite0", "cnn_features_svm", "cnn_features_knn", "cnn_features_knn_svm"
    ] = Field(
        "frozen_efficientnet_lite0",
        description="classifier of the features: logistic regression, linear SVM, nearest training clips or "
        "both of these",
    )
    model_args: dict[str, Any] = Field({}, description="what its factory takes, as backbone or freeze")
    reduce: Reduction | None = Field(None, description="what it looks at of a pack; null: all")
    strength: float = Field(1.0, gt=0, description="inverse strength of the L2 penalty")
