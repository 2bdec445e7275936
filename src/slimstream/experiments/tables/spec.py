"""The specification of a paper's tables: recipes/tables/<paper>.yaml as types.

The settings of a row are the paper's `settings`, overridden by those of the budget, then by the row's `set`,
then by the row's own for that budget. Settings that none of them names have their defaults, so all rows of a
table share them, above all epochs and input. A protocol (`simulated`, `as_printed`) adds to the paper's
settings and to those of the budgets.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from itertools import combinations
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from slimstream.core.errors import UserError
from slimstream.core.paths import MODELS, TEACHERS, Paths
from slimstream.core.schema import Section, load, parse
from slimstream.core.simulated import SIMULATED
from slimstream.pipeline.params import Params
from slimstream.pipeline.recipes import Settings, merge, resolve

FOLDER = "recipes/tables"
SEEDS = 5
"""Maximum number of trainings per row and fold."""
Metric = Literal[
    "accuracy", "macro_precision", "macro_recall", "macro_f1", "defect_precision", "defect_recall"
]
Count = Literal["params", "macs"]
Curve = Literal["train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr"]
PRINTED_AS: dict[str, str] = {
    "accuracy": "accuracy",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "defect_precision": "precision",
    "defect_recall": "recall",
    "macro_f1": "F1",
}
"""Names of the scores in `Row.paper`."""


class Row(Section):
    name: str
    model: str = Field("original", description="which of the trained models is judged; teachers/<name>, too")
    count: bool = Field(False, description="parameters and MACs alone, nothing is trained")
    set: Settings = Field({}, description="what differs from the other rows, by section of params.yaml")
    budgets: dict[str, Settings] = Field({}, description="the same, for one budget alone")
    seeds: int = Field(1, ge=1, le=SEEDS, description="trainings per fold; 3 where a claim rests on the row")
    configurations: int = Field(1, ge=1, description="settings tried on these clips before these were kept")
    paper: dict[str, str | float] = Field({}, description="the paper's own figures, as printed")

    @model_validator(mode="after")
    def judges_something(self) -> Self:
        known = [model for model in MODELS if model != "slim"]  # the rows of a table are not searched
        if self.model not in known and not self.model.startswith(TEACHERS):
            raise ValueError(f"model must be {', '.join(known)} or {TEACHERS}<name>")
        return self

    def printed(self, metric: str) -> float | None:
        """The paper's score in 0..1; None when it gives no such number."""
        value = self.paper.get(PRINTED_AS.get(metric, metric))
        return value / 100 if isinstance(value, int | float) else None


class Table(Section):
    title: str
    rows: list[Row]
    note: str = Field("", description="what we make of the results on real clips, in folds")
    note_simulated: str = Field("", description="what we make of the results on the simulated plant")

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


class Figure(Section):
    """A paper's figure of some rows of a table."""

    title: str
    table: str
    rows: list[str]
    curves: list[Curve] = Field([], description="columns over the epochs; none: confusion matrices")
    heat: bool = Field(False, description="Grad-CAM at every convolution instead, of simulated pictures")


class Claim(Section):
    """A claim of the paper about rows of a table.

    With a score: `of` minus each of `against` is above or below a threshold (0.02 is two points); without
    `against` the score of `of` itself is. With a count (params, macs): `of` as a share of each of `against`
    is or, with `mean`, as a share of their mean. With `ordered`: the rows come in the order of the paper's
    scores.
    """

    says: str
    table: str
    of: str = ""
    against: list[str] = Field([], description="rows that `of` is compared with")
    mean: bool = False
    ordered: bool = False
    metric: Metric | Count = "accuracy"
    above: float | None = None
    below: float | None = None
    paper: str = Field("", description="what the paper reports, where the figures of its rows do not show it")
    half_width: float | None = Field(
        None, gt=0, description="as far as the interval may reach from the mean: it is not decided before"
    )

    @model_validator(mode="after")
    def is_one_claim(self) -> Self:
        thresholds = (self.above is not None) + (self.below is not None)
        if self.ordered and (self.of or self.against or thresholds or self.counts):
            raise ValueError("'ordered' is about all rows with a score of the paper: set 'metric' alone")
        if not self.ordered and (thresholds != 1 or not self.of):
            raise ValueError("set 'of' and exactly one of 'above' and 'below'")
        if self.counts and not self.against:
            raise ValueError(f"{self.metric} of a row is a share of others': name them in 'against'")
        if self.mean and not self.counts:
            raise ValueError("'mean' is for params and macs")
        return self

    @property
    def counts(self) -> bool:
        """Whether the claim is about parameters or MACs."""
        return self.metric in get_args(Count)

    @property
    def threshold(self) -> float:
        return next((bound for bound in (self.above, self.below) if bound is not None), 0.0)

    @property
    def sign(self) -> int:
        """1 where more is claimed, -1 where less is."""
        return -1 if self.below is not None else 1

    def pairs(self, table: Table) -> Iterator[tuple[str, str | None]]:
        """The rows that are compared; (of, None) for a score that is compared with the threshold alone."""
        if not self.ordered:
            others: list[str | None] = [*self.against] or [None]
            yield from ((self.of, name) for name in others)
            return
        scores = {row.name: score for row in table.rows if (score := row.printed(self.metric)) is not None}
        ranked = sorted(scores, key=lambda name: -scores[name])
        yield from ((one, other) for one, other in combinations(ranked, 2) if scores[one] > scores[other])

    def rows(self, table: Table) -> list[str]:
        """Names of the rows that the claim is about."""
        return list(dict.fromkeys(name for pair in self.pairs(table) for name in pair if name))


class ProtocolSettings(Section):
    """Settings of the rows under one protocol."""

    settings: Settings = Field({}, description="for all rows and budgets")
    budgets: dict[str, Settings] = Field({}, description="for one budget alone")


class Simulated(ProtocolSettings):
    """The simulated plant on which the tables run without a source.

    A replicate has clips of its own seed, new initial weights, and a test part of groups of its own.
    """

    plant: str
    replicates: int = Field(10, ge=2, description="of every row that a claim is about")
    others: int = Field(3, ge=1, description="of the other rows")
    judges: int = Field(0, ge=0, description="replicates that judge a claim at first; 0: all of them")
    quick: Settings = Field({}, description="overrides every row under --quick: tiny data, one epoch")

    @model_validator(mode="after")
    def is_known(self) -> Self:
        if self.plant not in SIMULATED:
            raise ValueError(f"plant must be one of {', '.join(SIMULATED)}")
        return self


class AsPrinted(ProtocolSettings):
    """The papers' own protocol: random splits, with scenes that are in training and in test."""

    splits: int = Field(10, ge=2, description="random splits with the shares of `split`")


class Spec(Section):
    """All tables of one paper."""

    paper: str = ""
    title: str
    pictures: bool = Field(False, description="its clips are pictures, so another source than videos")
    defect: str = Field("", description="the class whose own precision and recall are shown, too")
    folds: int = Field(5, ge=3, description="folds at most; up to so many groups, each is left out in turn")
    simulated: Simulated | None = None
    as_printed: AsPrinted | None = None
    settings: Settings = Field({}, description="for all rows and budgets")
    budgets: dict[str, Settings]
    tables: dict[str, Table]
    figures: dict[str, Figure] = Field({}, description="what the paper draws of its rows")
    claims: list[Claim] = Field([], description="what the paper says of its rows")
    tiny: bool = Field(False, exclude=True, description="whether --quick was given")

    @model_validator(mode="after")
    def rows_are_found(self) -> Self:
        rows = {name: [row.name for row in table.rows] for name, table in self.tables.items()}
        for name, names in rows.items():
            if len(set(names)) < len(names):
                raise ValueError(f"two rows of {name} have the same name")
        if both := rows.keys() & self.figures.keys():
            raise ValueError(f"a table and a figure are called '{min(both)}': their files would be one")
        asked = [(f"claim '{c.says}'", c.table, [*filter(None, [c.of]), *c.against]) for c in self.claims]
        asked += [(f"figure '{name}'", f.table, f.rows) for name, f in self.figures.items()]
        for who, table, wanted in asked:
            if table not in rows:
                raise ValueError(f"{who}: there is no table '{table}'")
            for row in wanted:
                if row not in rows[table]:
                    raise ValueError(f"{who}: {table} has no row '{row}'")
        for claim in self.claims:
            if not list(claim.pairs(self.tables[claim.table])):
                raise ValueError(f"claim '{claim.says}': {claim.table} has no two rows with such scores")
        return self

    @property
    def first_row(self) -> Row:
        """The first row that is trained; all rows share its settings of clips. Raises UserError for none."""
        for table in self.tables.values():
            for row in table.rows:
                if not row.count:
                    return row
        raise UserError(f"{self.paper} has no row that is trained.")

    def under(self, protocol: ProtocolSettings | None) -> "Spec":
        """These tables with the settings of `protocol`."""
        if protocol is None:
            return self
        budgets = {name: merge(own, protocol.budgets.get(name, {})) for name, own in self.budgets.items()}
        return self.model_copy(
            update={"settings": merge(self.settings, protocol.settings), "budgets": budgets}
        )

    def content(self, row: Row, budget: str) -> Settings:
        """The settings of `row` before validation. Raises UserError for an unknown budget."""
        if budget not in self.budgets:
            raise UserError(f"{self.paper} has no budget '{budget}'; there are {', '.join(self.budgets)}.")
        own = row.budgets.get(budget, {})
        quick = self.simulated.quick if self.tiny and self.simulated else {}
        return reduce(merge, (self.settings, self.budgets[budget], row.set, own, quick))

    def params(self, row: Row, budget: str, seed: int = 0) -> Params:
        """The settings of `row`, with `seed` added to the seed of every training.

        The seeds of teachers do not change, unless the row evaluates a teacher: so rows differ in the student
        only. Raises UserError when a setting does not fit.
        """
        settings = self._settings(row, budget)
        taught = {} if row.model.startswith(TEACHERS) else {"teachers": settings["teachers"]}
        return parse({**seeded(settings, seed), **taught}, Params, self._where(row))

    def replicate(self, row: Row, budget: str, number: int) -> Params:
        """The settings of `row` in a replicate: `number` is added to the seeds of clips and all trainings."""
        assert self.simulated is not None
        settings = self._settings(row, budget)
        plant = self.simulated.plant
        own = settings["ingest"][plant]
        ingest = settings["ingest"] | {"source": plant, plant: {**own, "seed": own["seed"] + number}}
        return parse({**seeded(settings, number), "ingest": ingest}, Params, self._where(row))

    def _settings(self, row: Row, budget: str) -> Settings:
        params = resolve(self.content(row, budget), self._where(row))
        settings = params.model_dump(mode="json", by_alias=True)
        return shortened(settings) if self.tiny else settings

    def _where(self, row: Row) -> str:
        return f"{self.paper}, row '{row.name}'"


def seeded(settings: Settings, seed: int) -> Settings:
    """`settings` with `seed` added to the seed of every `fit`."""
    return _with_fits(settings, lambda fit: {"seed": fit["seed"] + seed})


def shortened(settings: Settings) -> Settings:
    """`settings` with one epoch at most in every `fit`, so without warm-up and restarts."""
    return _with_fits(
        settings, lambda fit: {"epochs": min(1, fit["epochs"]), "warmup_epochs": 0, "cycles": 1}
    )


def _with_fits(settings: Mapping[str, Any], change: Callable[[Settings], Settings]) -> Settings:
    found = {k: _with_fits(v, change) if isinstance(v, Mapping) else v for k, v in settings.items()}
    if isinstance(fit := found.get("fit"), dict):
        found["fit"] = {**fit, **change(fit)}
    return found


def load_specs(paper: str, paths: Paths) -> list[Spec]:
    """The tables of `paper`, or of every paper for 'all'. Raises UserError for an unknown paper."""
    known = sorted(file.stem for file in (paths.root / FOLDER).glob("*.yaml"))
    if paper != "all" and paper not in known:
        raise UserError(
            f"There are no tables '{paper}' in {paths.root / FOLDER}; there are {', '.join([*known, 'all'])}."
        )
    return [load_spec(name, paths) for name in (known if paper == "all" else [paper])]


def load_spec(paper: str, paths: Paths) -> Spec:
    """Read recipes/tables/<paper>.yaml. Raises UserError when it is missing or wrong."""
    spec = load(paths.root / FOLDER / f"{paper}.yaml", Spec, "tables are files of that folder.")
    return spec.model_copy(update={"paper": paper})


def listing(spec: Spec, budget: str) -> str:
    """The tables and their rows as text."""
    lines = [spec.title]
    for name, table in spec.tables.items():
        lines += ["", f"{name}: {table.title}"]
        for row in table.rows:
            net = spec.params(row, budget).train.model
            work = "counted" if row.count else f"{row.seeds} {'seeds' if row.seeds > 1 else 'seed'}"
            of = f" of {net}" if row.model == "original" else ""
            lines.append(f"  {row.name}: {row.model}{of}, {work}")
    return "\n".join(lines)
