"""Pictures for Prefect: what is in them is what was measured."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from flows import pictures
from slimstream.core.paths import Paths


def picture(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)


def test_a_matrix_is_dark_on_its_diagonal_where_all_are_right(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.confusion.parent.mkdir()
    for predicted, dark in ((["a", "NA"], True), (["NA", "a"], False)):  # a class may be called NA
        pd.DataFrame({"actual": ["a", "NA"], "predicted": predicted}).to_csv(paths.confusion, index=False)
        shown = picture(pictures.confusion(paths) or "").min(axis=2)
        cells = np.argwhere(shown < 120)  # the two cells of count 1
        diagonal = np.corrcoef(cells.T)[0, 1] > 0  # rows and columns grow together
        assert diagonal == dark


def test_every_measured_model_is_a_point(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.metrics("evaluate").parent.mkdir()
    flat = {"original.macro_f1": 0.9, "original.file_to_answer_p50_ms": 80.0, "original.megabytes": 20.0}
    paths.metrics("evaluate").write_text(json.dumps(flat))
    one = picture(pictures.front(paths))
    flat |= {"pruned.macro_f1": 0.88, "pruned.file_to_answer_p50_ms": 20.0, "pruned.megabytes": 5.0}
    paths.metrics("evaluate").write_text(json.dumps(flat))
    two = picture(pictures.front(paths))
    orange = np.array([14, 127, 255])  # the second colour, in BGR
    assert not (np.abs(one.astype(int) - orange) < 3).all(axis=2).any()
    assert (np.abs(two.astype(int) - orange) < 3).all(axis=2).sum() > 50


def test_names_of_classes_are_no_formulas_and_many_classes_have_no_picture(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.confusion.parent.mkdir()
    names = ["a $b_$ c", "d"]
    pd.DataFrame({"actual": names, "predicted": names}).to_csv(paths.confusion, index=False)
    assert pictures.confusion(paths)
    names = [f"class {n}" for n in range(pictures.MOST + 1)]
    pd.DataFrame({"actual": names, "predicted": names}).to_csv(paths.confusion, index=False)
    assert pictures.confusion(paths) is None
