"""params.yaml as types: one section a stage, every field with its unit, nothing misspelt gets through."""

import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from slimstream.core.schema import Section, load

Fraction = Annotated[float, Field(ge=0, le=1)]
TeacherName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


def holds_credentials(address: str) -> bool:
    """Whether a URL names who asks: key:secret before the host, or the signature of a presigned one."""
    signed = r"[?&](X-Amz-\w+|AWSAccessKeyId|Signature)="
    return bool(re.match(r"\w+://[^/]*@|s3://[^/]*:", address) or re.search(signed, address, re.IGNORECASE))


class Rig(Section):
    """The simulated multiphase-flow rig (P1's plant), the source of the embedded default."""

    recordings: int = Field(10, ge=2, description="camera set-ups; each sees every state")
    clips: int = Field(4, ge=1, description="clips per recording and state")
    seconds: float = Field(3.0, gt=0, description="length of a clip")
    fps: float = Field(25.0, gt=0, description="frames per second")
    seed: int = 0


class Ingest(Section):
    """Where labelled clips come from."""

    source: str = Field("rig", description="'rig', a folder, or s3://bucket/prefix")
    endpoint_url: str | None = Field(
        None, description="an S3 server for clips alone; AWS_ENDPOINT_URL is for all"
    )
    rig: Rig = Rig()

    @model_validator(mode="after")
    def without_credentials(self) -> Self:
        # What stands here is logged with every run.
        if holds_credentials(self.source) or holds_credentials(self.endpoint_url or ""):
            raise ValueError("credentials belong in the environment, not in an address")
        return self


class Validate(Section):
    """What a data set must satisfy before anything is learnt from it."""

    classes: list[str] = Field([], description="the labels there may be; empty: as found")
    max_quarantined: Fraction = Field(0.1, description="share of clips that may be lost before the run stops")
    min_clips: int = Field(3, ge=1, description="clips a class needs")
    probe_permutations: int = Field(199, ge=99, description="label permutations behind a shortcut's p-value")
    twin_distance: float = Field(
        0.01, ge=0, description="mean grey difference (0..1) below which look-alike clips are near twins"
    )


class Extract(Section):
    """What a model is given to see: RGB frames and dense optical flow, in step; or pictures alone.

    Exactly one of `fraction` (P1: 0.2·T) and `frames` (P2: a fixed number spread over the clip) is set. A
    picture file is one frame whatever they say, and its `flow` is none.
    """

    fraction: Fraction | None = Field(None, description="share of a clip's frames that is sampled")
    frames: int | None = Field(
        None,
        ge=1,
        description="frames sampled per clip, spread over it (P2: 25); a clip of fewer repeats some",
    )
    clips: int = Field(
        1,
        ge=1,
        description="equal parts a video is cut into, each sampled as a clip of its own (P2: about 5)",
    )
    size: tuple[int, int] = Field(
        (160, 160), description="height and width in pixels, before flow is computed"
    )
    flow: Literal["farneback", "dis", "none"] = Field(
        "farneback", description="how flow is computed; none: frames alone, three channels"
    )
    grey: bool = Field(False, description="frames in grey, one channel; needs flow: none")
    bits: int | None = Field(
        None,
        ge=8,
        le=16,
        description="of pictures with 16 bits, how many their camera fills (10, 12, 14), counted from the "
        "lowest; null: 16, unless all of a set are so dark that it must be fewer",
    )
    stride: int = Field(1, ge=1, description="flow from frame t to frame t + stride")
    bound: float = Field(8.0, gt=0, description="flow in pixels that uint8 saturates at")

    @model_validator(mode="after")
    def one_sampling(self) -> Self:
        if (self.fraction is None) == (self.frames is None):
            raise ValueError("set exactly one of 'fraction' and 'frames'")
        if min(self.size) < 16:
            raise ValueError("size must be at least 16 by 16 pixels")
        if self.grey and self.flow != "none":
            raise ValueError("frames in grey are packed without flow: set 'flow' to none")
        return self

    @property
    def channels(self) -> int:
        """Of a pack: r, g, b, x, y; r, g, b; or grey."""
        return 1 if self.grey else 3 if self.flow == "none" else 5

    @property
    def reach(self) -> int:
        """How many frames after a sampled one its flow needs."""
        return 0 if self.flow == "none" else self.stride


class Split(Section):
    """Who learns, who chooses, who judges."""

    group_by: list[str] = Field([], description="columns whose equal values must stay together")
    video: str | None = Field(
        None,
        description="column that names the video a clip was cut from: its clips stay together and vote",
    )
    train: Fraction = Field(
        0.7, description="share of train (P1: 0.7; the model is chosen on a part of it when val is 0)"
    )
    val: Fraction = Field(0.0, description="share of val; 0 carves it out of train, never out of test")
    test: Fraction = Field(0.3, gt=0, description="share of test")
    test_group: str | None = Field(None, description="leave-one-group-out: this group alone is the test part")
    given: str | None = Field(
        None,
        min_length=1,
        description="column with a split that came with the data (train, val, test), used as it is; without "
        "val, it is carved out of train",
    )
    seed: int = 0

    @model_validator(mode="after")
    def sums_to_one(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train + val + test must be 1")
        if self.given and self.test_group:
            raise ValueError("set 'given' or 'test_group', not both: each says which clips are test")
        return self


class Augment(Section):
    """P1's augmentation; one draw for all frames of a clip and both streams."""

    crop: Fraction = Field(0.8, gt=0, description="smallest side kept by a random crop; 1 switches it off")
    hflip: Fraction = Field(0.5, description="probability of a left-right flip")
    vflip: Fraction = Field(0.0, description="probability of an upside-down flip (P1)")
    brightness: Fraction = Field(0.0, description="largest change of brightness and contrast, RGB only")

    @property
    def active(self) -> bool:
        """Whether any of it is switched on."""
        return self.crop < 1 or bool(self.hflip or self.vflip or self.brightness)


class Fit(Section):
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
    cycles: int = Field(1, ge=1, description="cosine: so many times warm-up and descent (P3's warm restarts)")
    decay: float = Field(
        0.1, gt=0, lt=1, description="step, plateau: what the learning rate is multiplied by"
    )
    decay_at: list[Fraction] = Field(
        [0.5, 0.75], description="step: after which shares of the epochs it decays"
    )
    patience: int = Field(10, ge=0, description="plateau: epochs without a better loss that are borne")
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
    augment: Augment = Augment()
    seed: int = 0

    @model_validator(mode="after")
    def cycles_outlast_their_warm_up(self) -> Self:
        if self.cycles > 1 and self.warmup_epochs >= self.epochs / self.cycles:
            raise ValueError("each of its cycles must have more epochs than warmup_epochs")
        return self


class Baseline(Section):
    """Frozen features and a head fitted in closed form: cheap, and always in the table."""

    model: Literal["frozen_efficientnet_lite0", "cnn_features_svm", "cnn_features_knn"] = Field(
        "frozen_efficientnet_lite0",
        description="features judged by logistic regression, a linear SVM or the nearest training clips",
    )
    model_args: dict[str, Any] = Field({}, description="what its factory takes, as backbone or freeze")
    strength: float = Field(1.0, gt=0, description="inverse strength of the L2 penalty")


class Train(Section):
    model: str = Field("two_stream_mobilevit", description="`python -m slimstream models` lists them")
    model_args: dict[str, Any] = Field({}, description="what its factory takes, as backbone or freeze")
    fit: Fit = Fit()


class Prune(Section):
    """Global structured channel pruning, then fine-tuning (P1, section 3.3)."""

    importance: Literal["l1", "bn_scale"] = Field(
        "l1",
        description="channels ranked by L1 norm of their weights (P1) or by batch norm's scale, which "
        "`slimming` in train.fit prepares",
    )
    rate: float | None = Field(
        None, gt=0, lt=1, description="share of channels removed (P1: 0.5); every layer keeps one at least"
    )
    target_params: float | None = Field(
        None, gt=0, lt=1, description="share of parameters kept (P1's result: 0.66)"
    )
    leave: list[str] = Field(
        ["fusion", "head"],
        description="layers (fnmatch) that keep their channels; the head does so in any case",
    )
    round_to: int | None = Field(None, ge=1, description="channels are kept in multiples of this")
    restore: float | None = Field(
        None,
        gt=0,
        description="before fine-tuning, refit layers to make the original's maps again, by ridge regression "
        "of this strength (1e-3), without labels; null: as pruning left them",
    )
    restore_clips: int | None = Field(
        None, ge=1, description="train and val clips this looks at; null: all, which takes long with `frozen`"
    )
    frozen: bool = Field(
        False,
        description="whether layers that training leaves as they are lose channels too, and so most of the "
        "time: restore then has to mend them",
    )
    fit: Fit = Fit()

    @model_validator(mode="after")
    def one_goal(self) -> Self:
        if (self.rate is None) == (self.target_params is None):
            raise ValueError(
                "set exactly one of 'rate' and 'target_params' and leave the other null "
                "(dvc exp run -S prune.rate=0.3 -S prune.target_params=null)"
            )
        if self.frozen and self.restore is None:
            raise ValueError("'frozen' needs 'restore', for no training will mend those layers")
        return self


class Sweep(Section):
    """The network pruned at several rates, as `prune` does it: what each costs and saves. It only shows."""

    rates: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [],
        description="shares of channels removed (0.1 to 0.8); empty: no curve. Each is fine-tuned anew",
    )
    latency_runs: int = Field(20, ge=5, description="timed single-clip runs of each exported network")


class Distill(Section):
    """A small net learns from the original and further teachers (P3, section 2)."""

    student: Literal["pruned", "scratch"] = Field(
        "pruned", description="who learns: the pruned net, or the one of `train`, newly initialised (P3)"
    )
    temperature: float = Field(4.0, gt=0)
    weight: Fraction = Field(0.5, description="λ: 0 is plain cross-entropy, 1 the teachers alone")
    attention: float = Field(0.0, ge=0, description="β, weight of attention transfer; the control has none")
    views: int = Field(4, ge=1, description="augmented views of a clip whose teacher logits are cached")
    original: bool = Field(True, description="whether the original is one of the teachers")
    trained: list[str] | None = Field(
        None, description="which of the section `teachers` teach; null: all of them"
    )
    teachers: list[Path] = Field([], description="further model folders")
    fit: Fit = Fit()


class Refit(Section):
    """When everything is chosen, the validation clips are learnt from as well."""

    strength: float | None = Field(
        None,
        gt=0,
        description="fit the heads of all models to train and val clips, as fit.head does with this "
        "strength; null: leave the models as they are",
    )


class Export(Section):
    """In which form a network is deployed."""

    runtimes: list[str] = Field(
        default_factory=lambda: _runtimes(),
        description="the forms there is a choice of; onnx is always among them",
    )
    max_changed: Fraction = Field(
        0.01, description="share of validation clips that a faster form may label otherwise than the network"
    )
    calibration_clips: int = Field(64, ge=1, description="training clips that give 8-bit numbers their range")
    latency_runs: int = Field(20, ge=5, description="timed single-clip runs of each form")

    @field_validator("runtimes")
    @classmethod
    def known(cls, names: list[str]) -> list[str]:
        if unknown := sorted(set(names) - set(_runtimes())):
            raise ValueError(f"there is no runtime {unknown[0]!r}; choose among {', '.join(_runtimes())}")
        return names


def _runtimes() -> list[str]:
    # By name: the settings of all stages lie here, and those that run no network do not depend on runtimes.
    return list(import_module("slimstream.runtimes").RUNTIMES)


class Evaluate(Section):
    resamples: int = Field(1000, ge=100, description="bootstrap resamples behind an interval")
    latency_runs: int = Field(30, ge=5, description="timed single-clip runs of the exported model")
    seed: int = 0


class Gate(Section):
    """When a challenger becomes champion."""

    margin: float = Field(0.02, ge=0, description="macro-F1 the challenger may be worse than the champion")
    max_drop: float = Field(0.05, ge=0, description="macro-F1 compression may cost against its own original")
    min_clips: int = Field(12, ge=1, description="unseen clips a comparison needs")
    min_macro_f1: Fraction = Field(0.5, description="floor for the first version")
    max_latency_ms: float = Field(10_000, gt=0, description="exported model, one clip, one thread, p95")
    max_megabytes: float = Field(50, gt=0, description="exported model file")


class Publish(Section):
    name: str = Field("slimstream", description="the registered model", pattern=r"^[A-Za-z0-9_-]+$")
    gate: Gate = Gate()


class Params(Section):
    """The whole of params.yaml."""

    recipe: str = "rig"
    ingest: Ingest = Ingest()
    validate_: Validate = Field(Validate(), alias="validate")
    extract: Extract = Extract(frames=16)
    split: Split = Split()
    baseline: Baseline = Baseline()
    train: Train = Train()
    teachers: dict[TeacherName, Train] = Field({}, description="networks that only teach, by a name of yours")
    prune: Prune = Prune(rate=0.5)
    sweep: Sweep = Sweep()
    distill: Distill = Distill()
    refit: Refit = Refit()
    export: Export = Export()
    evaluate: Evaluate = Evaluate()
    publish: Publish = Publish()

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


def load_params(path: Path) -> Params:
    """Read `path`; raise UserError, naming the field and the mend, when it does not fit."""
    return load(path, Params, "run in the project's root or copy a recipe there.")
