"""The deployed form in MLflow: what is stored with a version, and runs when it is loaded.

MLflow stores this file as the model's code (models-from-code); the package comes along as `code_paths`, the
network in all its forms and what to show it as artifacts: no torch, no pickle.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from slimstream.core.parallel import cores
from slimstream.serving import classifier


class ClipClassifier(PythonModel):
    """One exported network and the settings it sees a clip with."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["preprocessing.json"]).parent
        self.threads = cores()
        self.classifier = classifier.ClipClassifier(folder, threads=self.threads)

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: Any = None
    ) -> pd.DataFrame:
        """Judge local videos or pictures: a list of paths or a frame whose first column (`path`) holds them.

        Returns one row a path, in order: `path`, `label`, a probability `p_<class>` for every class, `error`.
        A video that is cut into several clips gets the mean of their probabilities. A file that cannot be
        judged has no label, nan for probabilities and says why in `error` (else "").
        """
        with ThreadPoolExecutor(self.threads) as pool:
            answers = pool.map(lambda path: self.classifier.judge([Path(path)])[0], model_input)
            return pd.DataFrame(list(answers), columns=self.classifier.columns())


mlflow.models.set_model(ClipClassifier())
