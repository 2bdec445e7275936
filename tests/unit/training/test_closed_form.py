"""A head fitted in closed form says what scikit-learn's pipeline says."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from slimstream.training.closed_form import fit_head


class Net:
    classifier = "logistic"

    def features(self, clip: Tensor) -> Tensor:
        return clip

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        self.predict = lambda x: ((x - mean) / std @ weight.T + bias).softmax(1)


def lesson(classes: int) -> tuple[np.ndarray, np.ndarray, list[SimpleNamespace]]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 60)
    x = (rng.normal(size=(60, 5)) + y[:, None]) * [1, 10, 0.1, 1, 1] + 3
    batches = [
        SimpleNamespace(clip=torch.from_numpy(a).float(), labels=torch.from_numpy(b))
        for a, b in zip(np.split(x, 3), np.split(y, 3), strict=True)
    ]
    return x, y, batches


@pytest.mark.parametrize("classes", [2, 3])
def test_same_probabilities_as_the_pipeline(classes: int) -> None:
    x, y, batches = lesson(classes)
    net = Net()
    fit_head(net, batches, classes, strength=0.1)  # type: ignore[arg-type]
    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
    )
    expected = pipeline.fit(x, y).predict_proba(x)
    assert net.predict(torch.from_numpy(x).float()).numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_same_decisions_as_the_support_vector_machine(classes: int) -> None:
    x, y, batches = lesson(classes)
    net = Net()
    net.classifier = "svm"
    fit_head(net, batches, classes, strength=0.1)  # type: ignore[arg-type]
    machine = LinearSVC(C=0.1, class_weight="balanced", max_iter=5000, random_state=0)
    expected = make_pipeline(StandardScaler(), machine).fit(x, y).predict(x)
    assert net.predict(torch.from_numpy(x).float()).argmax(1).tolist() == expected.tolist()


def test_parts_of_the_features_have_a_classifier_each() -> None:
    x, y, batches = lesson(3)
    taken: dict[str, Tensor] = {}
    net = SimpleNamespace(parts=(2, 3), features=lambda clip: clip)
    net.set_head = lambda *head: taken.update(head=head)
    fit_head(net, batches, 3, strength=0.1)  # type: ignore[arg-type]
    weight, bias, mean, std = taken["head"]
    assert weight.shape == (3, 5) and bias.shape == (2, 3)
    scaled = (torch.from_numpy(x).float() - mean) / std
    for part, b in zip((slice(2), slice(2, 5)), bias, strict=True):
        regression = LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
        expected = make_pipeline(StandardScaler(), regression).fit(x[:, part], y).predict_proba(x[:, part])
        found = (scaled[:, part] @ weight[:, part].T + b).softmax(1)
        assert found.numpy() == pytest.approx(expected, abs=1e-4)


def test_a_class_without_clips_is_never_the_answer() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    net = Net()
    batch = SimpleNamespace(clip=x, labels=torch.tensor([0, 0, 2, 2]))
    fit_head(net, [batch], 3, strength=1.0)  # type: ignore[list-item, arg-type]
    assert net.predict(x)[:, 1].max() < 1e-6
    assert net.predict(x).argmax(1).tolist() == [0, 0, 2, 2]
