"""Protocols: which clips a row learns from and is judged on, how often, and what its intervals are over.

- Replicates: a simulated plant renders new clips for each; a part of its groups is the test part.
- Folds: every group of given clips is judged once, by networks that have not seen it.
- Splits, as printed in the papers: given clips are divided at random, so that most scenes are in training and
  in test. Only near twins stay together.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from slimstream.catalog.manifest import group_columns
from slimstream.catalog.part_names import PARTS
from slimstream.core.errors import UserError
from slimstream.core.paths import TEACHERS, Paths
from slimstream.core.simulated import SIMULATED
from slimstream.experiments.stage_runs import hash_key
from slimstream.experiments.tables.cells import Cell, DataSource
from slimstream.experiments.tables.record import Key
from slimstream.experiments.tables.spec import SEEDS, Row, Spec
from slimstream.pipeline.params import Params
from slimstream.splits.columns import effective_group_by
from slimstream.splits.groups import VAL_SHARE, components, folds
from slimstream.stages.ingest.plants.source import PLANTS

MOST_REPLICATES = 40
"""A claim that needs more replicates is given up."""
TENTHS = 10
"""Random splits are made of tenths of the clips."""
FLATTERS = "flatters: same scenes in training and test"
"""Stands beside every number of random splits."""

Turn = tuple[Key, int]
"""A row and its seed, replicate or split: what is finished as a whole."""


@dataclass(frozen=True)
class Protocol(ABC):
    """How often the rows of `spec` are trained and judged under `budget`, and on which clips."""

    spec: Spec
    budget: str
    unit: ClassVar[str]
    """Intervals are over these: fold, replicate or split."""

    @property
    def most(self) -> int:
        """Numbers of turns are below this."""
        return SEEDS

    @property
    def overlap(self) -> float:
        """Test clips per training clip, where splits share their clips (`results.interval`); else 0."""
        return 0.0

    @property
    def first(self) -> int:
        """Units that judge a claim at first; with fewer there is no verdict."""
        return 0

    @property
    def independent(self) -> bool:
        """Whether units share no clips, so that more of them make the intervals narrower."""
        return False

    @property
    @abstractmethod
    def suffix(self) -> str:
        """End of the names of its files of results."""

    @property
    @abstractmethod
    def heading(self) -> str:
        """On which clips, after the title of the paper."""

    @property
    @abstractmethod
    def preamble(self) -> str:
        """How the numbers were made, for their readers."""

    @abstractmethod
    def rounds(self, rows: Mapping[Key, Row], seeds: int | None) -> Iterator[list[Turn]]:
        """The turns of `rows`, in rounds. A round is finished before the next one begins."""

    def last_rounds(self, rows: Mapping[Key, Row]) -> Iterator[list[Turn]]:
        """Rounds that come last, after those that `rounds` may lead to."""
        yield from ()

    @abstractmethod
    def cells(self, row: Row, number: int) -> list[Cell]:
        """The cells of a turn; nothing is run yet."""

    def ready(self, number: int) -> bool:
        """Whether the clips of turns of this number are there."""
        return True

    def prepare(self, number: int) -> None:  # noqa: B027
        """Render the clips of turns of this number, if they have clips of their own. Raises UserError."""

    def clear(self, cells: Iterable[Cell]) -> None:  # noqa: B027
        """Delete what a finished round needs no more."""


@dataclass(frozen=True)
class Folds(Protocol):
    """Whole groups are left out in turn, with one or several trainings of each row and fold."""

    data: DataSource
    plant: str = ""
    """The simulated plant, where the clips are not real."""
    unit: ClassVar[str] = "fold"

    @property
    def suffix(self) -> str:
        return f"-{self.plant}-folds" * bool(self.plant)

    @property
    def heading(self) -> str:
        return f"on {simulated(self.plant)}, in folds" if self.plant else "on real clips, in folds"

    @property
    def preamble(self) -> str:
        return (
            "Means over folds of means over seeds, with Student's 95 % interval over folds; a fold is one "
            f"group left out or, where there are more than {self.spec.folds}, one of {self.spec.folds} parts "
            "of whole groups. Folds share training clips, so the intervals are somewhat too narrow."
        )

    def rounds(self, rows: Mapping[Key, Row], seeds: int | None) -> Iterator[list[Turn]]:
        wanted = {where: seeds or row.seeds for where, row in rows.items()}
        yield [(where, seed) for seed in range(SEEDS) for where in rows if seed < wanted[where]]

    def cells(self, row: Row, number: int) -> list[Cell]:
        params = self.spec.params(row, self.budget, number)
        group_by = effective_group_by(group_columns(self.data.clips), params.split)
        fold, several = _folded(self.data, tuple(group_by), self.spec.folds)
        names = sorted(set(fold))
        found = []
        for test, following in zip(names, [*names[1:], *names[:1]], strict=True):
            # Where each fold is one group, the split chooses the validation part as usual. Where folds are
            # several groups, the next fold is the validation part: otherwise it would always be the same one.
            parts = fold.where(fold.isin((test, following)), "learning") if several else fold
            split = with_split(params, group_by=["fold"], test_group=test, given=None)
            found.append(Cell(row.model, test, number, number, split, self.data, {"fold": parts}))
        return found


@cache
def _folded(data: DataSource, group_by: tuple[str, ...], at_most: int) -> tuple[pd.Series, bool]:
    """The fold of every clip, and whether folds consist of several groups."""
    fold = folds(data.clips, group_by, at_most)
    return fold, components(data.clips, group_by).nunique() > fold.nunique()


@dataclass(frozen=True)
class Splits(Protocol):
    """Random splits in the shares of `split`, one training of each row and split."""

    data: DataSource
    count: int
    """Number of splits."""
    shares: tuple[float, float, float]
    """Of train, val and test."""
    unit: ClassVar[str] = "split"
    suffix = "-as_printed"
    heading = f"on real clips, split as printed ({FLATTERS})"

    @property
    def most(self) -> int:
        return self.count

    @property
    def first(self) -> int:
        return self.count

    @property
    def overlap(self) -> float:
        train, val, test = self.shares
        return test / (train if val else train * (1 - VAL_SHARE))  # networks do not learn from val

    @property
    def preamble(self) -> str:
        shares = ":".join(f"{TENTHS * share:.0f}" for share in self.shares if share)
        return (
            f"This **{FLATTERS}**: means over {self.count} random {shares} splits, in which only near twins "
            "stay together, as the papers split. The 95 % intervals are those of Nadeau and Bengio (2003): "
            "the splits share most of their clips."
        )

    def rounds(self, rows: Mapping[Key, Row], seeds: int | None) -> Iterator[list[Turn]]:
        yield [(where, number) for number in range(self.count) for where in rows]

    def cells(self, row: Row, number: int) -> list[Cell]:
        params = self.spec.params(row, self.budget, number)
        parts = _printed(self.data, self.shares, number)
        split = with_split(params, group_by=[], test_group=None, given="printed")
        name, columns = f"split{number}", {"printed": parts}
        return [Cell(row.model, name, number, number, split, self.data, columns)]


@cache
def _printed(data: DataSource, shares: tuple[float, float, float], number: int) -> pd.Series:
    """The part of every clip in the random split of this number, in tenths; near twins stay together."""
    tenth = folds(data.clips, [], TENTHS, seed=number)
    if (sets := tenth.nunique()) < TENTHS:
        raise UserError(f"--as-printed: {sets} near-twin sets cannot be split in tenths; give more clips.")
    names = np.random.default_rng(number).permutation(sorted(set(tenth)))
    parts = np.searchsorted(np.cumsum(shares[:2]), (np.arange(TENTHS) + 0.5) / TENTHS)
    return tenth.map({name: PARTS[part] for name, part in zip(names, parts, strict=True)})


@dataclass(frozen=True)
class Replicates(Protocol):
    """A simulated plant renders the clips of each replicate; one training of each row and replicate."""

    plant: str
    count: int
    """Number of replicates of every row; a claim may ask for more."""
    paths: Paths
    sources: dict[int, DataSource] = field(default_factory=dict, compare=False, repr=False)
    plants: dict[int, tuple[int, str]] = field(default_factory=dict, compare=False, repr=False)
    unit: ClassVar[str] = "replicate"

    @property
    def most(self) -> int:
        return max(self.count, MOST_REPLICATES)

    @property
    def first(self) -> int:
        return max(self.count, self.spec.simulated.judges if self.spec.simulated else 0)

    @property
    def independent(self) -> bool:
        return True

    @property
    def suffix(self) -> str:
        return f"-{self.plant}"

    @property
    def heading(self) -> str:
        return f"on {simulated(self.plant)}"

    @property
    def preamble(self) -> str:
        params = self._params(0)
        split, (height, width) = params.split, params.extract.size
        clips = len(PLANTS[self.plant](params.ingest))
        rows = [row for table in self.spec.tables.values() for row in table.rows if not row.count]
        learning = [(row.model, self.spec.replicate(row, self.budget, 0)) for row in rows]
        frames = _range([each.extract.frames for _, each in learning if each.extract.frames], "frame")
        epochs = _range([epochs for each in learning if (epochs := _epochs(*each))], "epoch")
        return (
            f"**All clips are simulated**: rendered pictures of {SIMULATED[self.plant]}. Each replicate has "
            f"clips of its own, new initial weights and a test part of {split.test:.0%} of its groups "
            f"({', '.join(split.group_by)}), which its networks have never seen. Means over replicates, with "
            f"Student's 95 % interval over them. A claim is judged by the first {self.first}, or by those "
            f"that its line names; a row may have more. A replicate has {clips:,} clips. Networks see "
            f"{frames or 'clips'} of {width} × {height} pixels and train for {epochs or 'no epoch'}: what a "
            f"row has for itself is in recipes/tables/{self.spec.paper}.yaml."
        )

    def rounds(self, rows: Mapping[Key, Row], seeds: int | None) -> Iterator[list[Turn]]:
        for number in range(self.count):
            yield [(where, number) for where in self._claimed if where in rows]

    def last_rounds(self, rows: Mapping[Key, Row]) -> Iterator[list[Turn]]:
        """The rows that no claim is about."""
        others = min(self.count, self.spec.simulated.others if self.spec.simulated else self.count)
        for number in range(others):
            yield [(where, number) for where in rows if where not in self._claimed]

    def prepare(self, number: int) -> None:
        self._source(number).prepare(self._params(number))

    def cells(self, row: Row, number: int) -> list[Cell]:
        params, name = self.spec.replicate(row, self.budget, number), f"replicate{number}"
        seed, rendered = self._plant(number)
        return [Cell(row.model, name, number, seed, params, self._source(number), rendered=rendered)]

    def ready(self, number: int) -> bool:
        return self._source(number).ready

    def clear(self, cells: Iterable[Cell]) -> None:
        """Delete packs: those of all replicates would fill a disk, and `extract` can make them again."""
        for cell in cells:
            cell.packs.delete()

    @cached_property
    def _claimed(self) -> list[Key]:
        """The rows that claims are about, in the order in which the claims name them."""
        tables = self.spec.tables
        named = (
            (claim.table, name) for claim in self.spec.claims for name in claim.rows(tables[claim.table])
        )
        return list(dict.fromkeys(named))

    def _params(self, number: int) -> Params:
        """Settings with those of the clips, which all rows share."""
        return self.spec.replicate(self.spec.first_row, self.budget, number)

    def _plant(self, number: int) -> tuple[int, str]:
        """The seed of the plant and a hash of all its clips."""
        if number not in self.plants:
            ingest = self._params(number).ingest
            clips = hash_key(sorted(clip.etag for clip in PLANTS[self.plant](ingest)))
            self.plants[number] = getattr(ingest, self.plant).seed, clips
        return self.plants[number]

    def _source(self, number: int) -> DataSource:
        if number not in self.sources:
            self.sources[number] = DataSource.planned(self._params(number), self.paths)
        return self.sources[number]


def _epochs(model: str, params: Params) -> int:
    """Epochs of the training that `model` comes from, before any fine-tuning; 0 for fits in closed form."""
    if model.startswith(TEACHERS):
        return params.teachers[model.removeprefix(TEACHERS)].fit.epochs
    return 0 if model == "baseline" else params.train.fit.epochs


def _range(values: Iterable[int], what: str) -> str:
    """The least and the largest of `values`, such as "8 to 30 frames"; "" without values."""
    if not (found := sorted(set(values))):
        return ""
    return " to ".join(map(str, found[:: max(1, len(found) - 1)])) + f" {what}{'s' * (found[-1] != 1)}"


def simulated(plant: str) -> str:
    """The plant, with the word that belongs beside every number of it."""
    return f"the simulated plant {plant}"


def with_split(params: Params, **changes: object) -> Params:
    """`params` with other settings of `split`."""
    return params.model_copy(update={"split": params.split.model_copy(update=changes)})
