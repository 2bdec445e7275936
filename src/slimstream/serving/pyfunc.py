"""The MLflow pyfunc model: stored with each version and run when the version is loaded.

MLflow stores this file as the code of the model (models-from-code), the package as `code_paths`, and the
exported networks and preprocessing settings as artifacts. It needs no torch and no pickle.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from slimstream.core.parallel import cores
from slimstream.serving import classifier


class PyfuncModel(PythonModel):
    """An exported network and its preprocessing settings as an MLflow model."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["preprocessing.json"]).parent
        self.threads = cores()
        self.classifier = classifier.ClipClassifier(folder, threads=self.threads)

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: Any = None
    ) -> pd.DataFrame:
        """Predict local videos or pictures: a list of paths, or a frame with the paths in its first column.

        Returns one row per path, in order: `path`, `label`, a probability `p_<class>` per class, `unlikeness`
        (if the version has a reference; above 1 the label is `unknown`) and `error`. A video with several
        clips gets the means of their probabilities and of their unlikeness. A file that fails has no label,
        nan as probabilities and the reason in `error` (else "").
        """
        with ThreadPoolExecutor(self.threads) as pool:
            answers = pool.map(lambda path: self.classifier.predict([Path(path)])[0], model_input)
            return pd.DataFrame(list(answers), columns=self.classifier.columns())


mlflow.models.set_model(PyfuncModel())
