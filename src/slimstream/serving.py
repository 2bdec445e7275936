"""The deployed form: raw clip files in, label and probabilities out.

MLflow stores this file as the model's code (models-from-code) and runs it to load the model; the package
comes along as `code_paths`, the network as ONNX, what to show it as JSON: no torch, no pickle.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from slimstream.data.packs import pack_clip
from slimstream.learn.export import OnnxModel
from slimstream.params import Extract


class ClipClassifier(PythonModel):
    """One exported network and the settings it sees a clip with."""

    def load_context(self, context: PythonModelContext) -> None:
        card = json.loads(Path(context.artifacts["card"]).read_text())
        self.classes: list[str] = card["classes"]
        self.extract = Extract.model_validate(card["input"])
        self.network = OnnxModel(Path(context.artifacts["network"]), threads=1)

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: Any = None
    ) -> pd.DataFrame:
        """Judge local videos or pictures: a list of paths or a frame whose first column (`path`) holds them.

        Returns one row a path, in order: `path`, `label`, a probability `p_<class>` for every class, `error`.
        A video that is cut into several clips gets the mean of their probabilities. A file that cannot be
        judged has no label, nan for probabilities and says why in `error` (else "").
        """
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            rows = list(pool.map(self._judge, model_input))
        columns = ["path", "label", *(f"p_{name}" for name in self.classes), "error"]
        return pd.DataFrame(rows, columns=columns)

    def _judge(self, path: str) -> dict[str, Any]:
        try:
            return {"path": path, **dict(self._answer(Path(path))), "error": ""}
        except Exception as error:  # one bad file must not cost the others their answer
            return {"path": path, "label": None, "error": str(error) or type(error).__name__}

    def _answer(self, path: Path) -> Iterator[tuple[str, Any]]:
        clips = pack_clip(path, self.extract).clips  # (T, H, W, C) each
        batches = (np.ascontiguousarray(clip.transpose(0, 3, 1, 2)[None]) for clip in clips)
        answers = [_softmax(self.network(batch)[0].astype(np.float64)) for batch in batches]
        probabilities = np.mean(answers, axis=0)
        yield "label", self.classes[int(probabilities.argmax())]
        yield from ((f"p_{name}", float(p)) for name, p in zip(self.classes, probabilities, strict=True))


def _softmax(logits: np.ndarray) -> np.ndarray:
    scaled = np.exp(logits - logits.max())
    return scaled / scaled.sum()


mlflow.models.set_model(ClipClassifier())
