"""Features of a pretrained CNN with a classical classifier (P2, Table 7: "CNN, KNN + SVM")."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from slimstream.models.architectures.two_stream import Pool, TwoStream
from slimstream.models.base import set_linear
from slimstream.models.hub import Weights
from slimstream.models.settings import Classes
from slimstream.models.two_stream.efficientnet import frozen_efficientnet_lite0


def cnn_features_svm(
    num_classes: Classes,
    *,
    pretrained: Weights = True,
    features: Literal["last", "head"] = "last",
    pool: Pool = "mean_std",
) -> TwoStream:
    """Frozen EfficientNet-Lite0 features and a linear support vector machine (P2, Table 7).

    The settings are those of `frozen_efficientnet_lite0`; `fit.head`, or the baseline's `strength`, is
    scikit-learn's C. Logits are signed distances from the planes, so their softmax is not calibrated.
    """
    net = frozen_efficientnet_lite0(num_classes, pretrained=pretrained, features=features, pool=pool)
    net.classifier = "svm"
    net.head.requires_grad_(False)  # gradient steps would change the fitted classifier
    return net


def cnn_features_knn(
    num_classes: Classes,
    *,
    neighbours: Annotated[int, Field(ge=1)] = 5,
    pretrained: Weights = True,
    features: Literal["last", "head"] = "last",
    pool: Pool = "mean_std",
) -> TwoStream:
    """Frozen EfficientNet-Lite0 features and the vote of the nearest training clips (P2, Table 7).

    Args:
        num_classes: classes to tell apart.
        neighbours: number of training clips that vote. P2 gives none; 5 is scikit-learn's default.
        pretrained, features, pool: as in `frozen_efficientnet_lite0`.
    """
    net = frozen_efficientnet_lite0(num_classes, pretrained=pretrained, features=features, pool=pool)
    return _with_head(net, NearestNeighbours, lambda width: Neighbours(width, num_classes, neighbours))


def cnn_features_knn_svm(
    num_classes: Classes,
    *,
    neighbours: Annotated[int, Field(ge=1)] = 5,
    pretrained: Weights = True,
    features: Literal["last", "head"] = "last",
    pool: Pool = "mean_std",
) -> TwoStream:
    """Frozen EfficientNet-Lite0 features, nearest neighbours and a support vector machine (P2, Table 7).

    P2 does not say how the two are combined. Our choice: the mean of their probabilities, which are the
    shares of the votes and the softmax of the signed distances from the planes.

    Args:
        num_classes: classes to tell apart.
        neighbours: as in `cnn_features_knn`.
        pretrained, features, pool: as in `frozen_efficientnet_lite0`.
    """
    net = frozen_efficientnet_lite0(num_classes, pretrained=pretrained, features=features, pool=pool)
    return _with_head(net, NeighboursAndPlanes, lambda width: MeanOfBoth(width, num_classes, neighbours))


def _with_head(
    net: TwoStream, kind: "type[NearestNeighbours]", head: Callable[[int], nn.Module]
) -> "NearestNeighbours":
    """The streams of `net` in a network of another `kind`, with a `head` for as many features."""
    return kind(
        normalise=net.normalise,
        rgb=net.rgb,
        flow=net.flow,
        fusion=net.fusion,
        pool=net.pool,
        head=head,
        features=net.head.in_features,
    )


class NearestNeighbours(TwoStream):
    """Two streams whose classifier stores the features of the training clips."""

    differentiable = False
    remembers_only = True
    head: "Neighbours"  # type: ignore[assignment]

    @torch.inference_mode(False)
    @torch.no_grad()
    def remember(self, features: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        """Store the training clips by which `forward` classifies.

        `features` (N, F') are standardised by `mean` and `std` (F',); `labels` (N,) are int64.
        """
        self.head.remember(features, labels, mean, std)


class NeighboursAndPlanes(NearestNeighbours):
    """The same with a linear SVM beside it, fitted to the same features."""

    remembers_only = False
    classifier = "svm"
    head: "MeanOfBoth"  # type: ignore[assignment]

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        """Set the SVM; the arguments are those of `Classifier.set_head`."""
        set_linear(self.head.planes, nn.Identity(), weight, bias, mean, std)


class Neighbours(nn.Module):
    """The vote of the nearest stored clips, by Euclidean distance; (B, F) to (B, classes).

    Distances are between standardised features. A logit is the log of a class's share of the votes. One
    further vote is divided evenly among all classes, so that no share is 0. If fewer than `neighbours` clips
    are stored, all of them vote. The stored clips are buffers: they are saved with the weights, but do not
    count as parameters.
    """

    mean: Tensor
    std: Tensor
    memory: Tensor
    votes: Tensor

    def __init__(self, features: int, classes: int, neighbours: int) -> None:
        super().__init__()
        self.in_features = features
        self.neighbours = neighbours
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.register_buffer("memory", torch.zeros(0, features))
        self.register_buffer("votes", torch.zeros(0, classes))

    def remember(self, features: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        """Store clips; the arguments are those of `NearestNeighbours.remember`."""
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.memory = (features - mean) / std
        self.votes = functional.one_hot(labels, self.votes.shape[1]).float()

    def forward(self, features: Tensor) -> Tensor:
        voters = min(self.neighbours, len(self.memory))
        # The negative squared distance, without the term that is the same for all stored clips.
        closeness = 2 * ((features - self.mean) / self.std) @ self.memory.T - self.memory.square().sum(1)
        nearest = closeness.topk(voters, 1).indices
        votes = self.votes[nearest].sum(1) + 1 / self.votes.shape[1]
        return (votes / (voters + 1)).log()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Give the buffers the sizes in the file before they are loaded."""
        for name in ("memory", "votes"):
            given = state_dict.get(prefix + name)
            if given is not None:
                setattr(self, name, getattr(self, name).new_zeros(len(given), *getattr(self, name).shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *args)


class MeanOfBoth(nn.Module):
    """Log of the mean of two probabilities, of `Neighbours` and of linear planes; (B, F) to (B, classes)."""

    def __init__(self, features: int, classes: int, neighbours: int) -> None:
        super().__init__()
        self.in_features = features
        self.neighbours = Neighbours(features, classes, neighbours)
        self.planes = nn.Linear(features, classes).requires_grad_(False)

    def remember(self, features: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        self.neighbours.remember(features, labels, mean, std)

    def forward(self, features: Tensor) -> Tensor:
        both = torch.stack((self.neighbours(features), self.planes(features))).log_softmax(-1)
        return both.logsumexp(0) - math.log(2)
