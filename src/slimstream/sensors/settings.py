"""Settings of `python -m slimstream process`: columns of a log, windows, splits and methods."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from slimstream.core.schema import Section, load

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class Pca(Section):
    """One PCA model per state. The number of components is chosen on inner blocks."""

    variance: list[Share] = Field(
        [0.5, 0.7, 0.8, 0.9, 0.95],
        min_length=1,
        description="shares of the variance kept, one of them chosen",
    )


class Svm(Section):
    """Support vector machine with a Gaussian kernel. Both settings are chosen on inner blocks."""

    c: list[Positive] = Field([1, 10, 100], min_length=1, description="inverse strength of the penalty")
    gamma: list[Positive] = Field(
        [0.1, 0.3, 1], min_length=1, description="1 / width of the kernel, in units of 1 / number of features"
    )


class Forest(Section):
    """Random forest. The leaf size is chosen on inner blocks."""

    trees: int = Field(100, ge=1)
    leaf: list[int] = Field(
        [1, 3, 10], min_length=1, description="fewest windows in a leaf, one of them chosen"
    )


class Detector(Section):
    """PCA model of the normal state: T² and Q with control limits. Its settings are fixed."""

    variance: Share = Field(0.9, description="share of the normal state's variance in the components of T²")
    levels: list[Share] = Field([0.95, 0.99], min_length=1, description="confidence of the control limits")


class SensorRecipe(Section):
    """A process recipe. Times are in seconds."""

    label: str = Field("label", description="column with the plant's state, one word a row")
    time: str | None = Field(
        None, description="column with seconds or ISO 8601 times; null: rows are `period` apart"
    )
    period: Positive = Field(1.0, description="time between rows where there is no time column")
    sensors: list[str] = Field([], description="numeric columns to use; empty: all the others")
    ignore: list[str] = Field([], description="columns that are no sensors")
    separator: str = Field(",", min_length=1, description="separator of columns")
    decimal: str = Field(".", min_length=1, max_length=1, description="decimal point")
    fill: int = Field(0, ge=0, description="longest gap, in rows, bridged by the value before it")

    states: list[str] = Field([], description="allowed labels; empty: all that occur")
    skip: list[str] = Field([], description="labels whose rows are left out, such as '' or 'start-up'")
    normal: str | None = Field(None, description="label of the state without a fault; null: no detector")

    window: Positive = Field(60.0, description="length of a window")
    step: Positive = Field(
        30.0, description="time from one window's start to the next; small steps cost time"
    )
    block: Positive = Field(
        300.0,
        description="a run of equal label is cut into blocks of at least this; their first window is lost",
    )
    features: list[Literal["mean", "std", "slope"]] = Field(["mean", "std", "slope"], min_length=1)

    methods: list[Literal["majority", "pca", "svm", "random_forest"]] = Field(
        ["majority", "pca", "svm", "random_forest"],
        min_length=1,
        description="classifiers, one row each and split",
    )
    splits: list[Literal["blocks", "runs", "random"]] = Field(
        ["blocks", "runs", "random"],
        min_length=1,
        description="blocks: stretches of time left out; runs: whole runs of equal label left out; "
        "random: windows drawn at random, which flatters and is shown as a warning",
    )
    folds: int = Field(5, ge=4, description="stretches of time that each state is cut into")
    inner: int = Field(3, ge=2, description="folds of the training blocks that settings are chosen on")
    seeds: int = Field(3, ge=1, description="repetitions of a method that uses random numbers")
    resamples: int = Field(1000, ge=100, description="number of bootstrap resamples")

    pca: Pca = Pca()
    svm: Svm = Svm()
    random_forest: Forest = Forest()
    detector: Detector = Detector()

    @model_validator(mode="after")
    def blocks_hold_windows(self) -> Self:
        if self.block < 2 * self.window:
            raise ValueError("block must be at least twice window: each block gives up its first window")
        return self


def load_recipe(path: Path) -> SensorRecipe:
    """Read a process recipe. Raises UserError, which names the field, when it is invalid."""
    return load(path, SensorRecipe, "name a process recipe, such as recipes/process/pronto.yaml.")
