"""A head fitted in closed form says what scikit-learn's pipeline says."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from slimstream.learn.heads import fit_head


class Net:
    def features(self, clip: Tensor) -> Tensor:
        return clip

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        self.judge = lambda x: ((x - mean) / std @ weight.T + bias).softmax(1)


@pytest.mark.parametrize("classes", [2, 3])
def test_same_probabilities_as_the_pipeline(classes: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 60)
    x = (rng.normal(size=(60, 5)) + y[:, None]) * [1, 10, 0.1, 1, 1] + 3
    batches = [
        SimpleNamespace(clip=torch.from_numpy(a).float(), labels=torch.from_numpy(b))
        for a, b in zip(np.split(x, 3), np.split(y, 3), strict=True)
    ]
    net = Net()
    fit_head(net, batches, classes, strength=0.1)  # type: ignore[arg-type]
    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
    )
    expected = pipeline.fit(x, y).predict_proba(x)
    assert net.judge(torch.from_numpy(x).float()).numpy() == pytest.approx(expected, abs=1e-4)


def test_a_class_without_clips_is_never_the_answer() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    net = Net()
    batch = SimpleNamespace(clip=x, labels=torch.tensor([0, 0, 2, 2]))
    fit_head(net, [batch], 3, strength=1.0)  # type: ignore[list-item, arg-type]
    assert net.judge(x)[:, 1].max() < 1e-6
    assert net.judge(x).argmax(1).tolist() == [0, 0, 2, 2]
