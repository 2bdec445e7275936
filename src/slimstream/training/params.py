"""The settings of a training: `fit` of several sections, `train`, each of `teachers`."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slimstream.core.schema import Fraction, Section
from slimstream.datasets.params import AugmentParams


class FitParams(Section):
    """One training: the same fields for training, fine-tuning and distillation."""

    epochs: int = Field(20, ge=0)
    batch_size: int = Field(8, ge=1, description="clips per optimiser step")
    micro_batch: int = Field(
        8, ge=1, description="clips per forward pass; gradients accumulate to batch_size"
    )
    frames: int = Field(4, ge=1, description="frames drawn from a clip per step; evaluation uses all")
    lr: float = Field(1e-3, gt=0, description="peak learning rate (Adam with decoupled weight decay)")
    backbone_lr: float | None = Field(
        None, ge=0, description="learning rate of the backbones; null: the same as lr"
    )
    weight_decay: float = Field(1e-3, ge=0)
    schedule: Literal["constant", "cosine", "step", "plateau"] = "cosine"
    warmup_epochs: int = Field(0, ge=0)
    warmup_from: Fraction = Field(0.0, description="share of `lr` at which warm-up starts")
    cycles: int = Field(1, ge=1, description="cosine: so many times warm-up and descent (P3's warm restarts)")
    decay: float = Field(
        0.1, gt=0, lt=1, description="step, plateau: what the learning rate is multiplied by"
    )
    decay_at: list[Fraction] = Field(
        [0.5, 0.75], description="step: after which shares of the epochs it decays"
    )
    patience: int = Field(
        10, ge=0, description="plateau: epochs without a better loss before the rate decays"
    )
    loss: Literal["cross_entropy", "am_softmax"] = Field(
        "cross_entropy", description="am_softmax (P2) needs a network with `head: cosine`"
    )
    margin: float = Field(
        0.35, ge=0, lt=2, description="am_softmax: m, by which cos θ of the true class must win"
    )
    scale: float = Field(30.0, gt=0, description="am_softmax: s, by which a cosine becomes a logit")
    center: float = Field(0.0, ge=0, description="θ, weight of the centre loss (P2: 0.1); 0 switches it off")
    slimming: float = Field(
        0.0, ge=0, description="L1 on batch norm's scales (network slimming: 1e-5 to 1e-4); 0 switches it off"
    )
    label_smoothing: Fraction = 0.0
    class_balance: Fraction = Field(1.0, description="weights (1/n_class)^x: 0 none, 1 fully balanced")
    ema: Fraction = Field(
        0.0, description="decay per step of a running mean of the weights; 0 switches it off"
    )
    head: float | None = Field(
        None,
        gt=0,
        description="first fit the head in closed form, with this strength (inverse L2 penalty): by logistic "
        "regression, or as cnn_features_svm and cnn_features_knn have it",
    )
    select: Literal["best", "last"] = Field(
        "best", description="weights of the best validation epoch or of the last"
    )
    augment: AugmentParams = AugmentParams()
    seed: int = 0

    @model_validator(mode="after")
    def cycles_outlast_their_warm_up(self) -> Self:
        if self.cycles > 1 and self.warmup_epochs >= self.epochs / self.cycles:
            raise ValueError("each of its cycles must have more epochs than warmup_epochs")
        return self


class TrainParams(Section):
    model: str = Field("two_stream_mobilevit", description="`python -m slimstream models` lists them")
    model_args: dict[str, Any] = Field({}, description="what its factory takes, as backbone or freeze")
    fit: FitParams = FitParams()
