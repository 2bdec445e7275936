"""The specification of a paper's tables: recipes/tables/<paper>.yaml as types.

The settings of a row are the paper's `settings`, overridden by those of the budget, then by the row's `set`,
then by the row's own for that budget. Settings that none of them names have their defaults, so all rows of a
table share them, above all epochs and input.
"""

from functools import reduce
from typing import Literal, Self

from pydantic import Field, model_validator

from slimstream.core.errors import UserError
from slimstream.core.paths import MODELS, TEACHERS, Paths
from slimstream.core.schema import Section, load, parse
from slimstream.pipeline.params import Params
from slimstream.pipeline.recipes import Settings, merge, resolve

FOLDER = "recipes/tables"
Metric = Literal["accuracy", "macro_precision", "macro_recall", "macro_f1"]
Curve = Literal["train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr"]


class Row(Section):
    name: str
    model: str = Field("original", description="which of the trained models is judged; teachers/<name>, too")
    count: bool = Field(False, description="parameters and MACs alone, nothing is trained")
    set: Settings = Field({}, description="what differs from the other rows, by section of params.yaml")
    budgets: dict[str, Settings] = Field({}, description="the same, for one budget alone")
    seeds: int = Field(1, ge=1, description="trainings per fold; 3 where a claim rests on the row")
    configurations: int = Field(1, ge=1, description="settings tried on these clips before these were kept")
    paper: dict[str, str | float] = Field({}, description="the paper's own figures, as printed")

    @model_validator(mode="after")
    def judges_something(self) -> Self:
        known = [model for model in MODELS if model != "slim"]  # the rows of a table are not searched
        if self.model not in known and not self.model.startswith(TEACHERS):
            raise ValueError(f"model must be {', '.join(known)} or {TEACHERS}<name>")
        return self


class Table(Section):
    title: str
    rows: list[Row]
    note: str = Field("", description="what we make of it, why the order is another than the paper's, say")


class Figure(Section):
    """A paper's figure of some rows of a table."""

    title: str
    table: str
    rows: list[str]
    curves: list[Curve] = Field([], description="columns over the epochs; none: confusion matrices")


class Claim(Section):
    """The claim that `of` minus each of `against` is above or below a threshold (0.02 is two points)."""

    says: str
    table: str
    of: str
    against: list[str]
    metric: Metric = "accuracy"
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def one_threshold(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("set exactly one of 'above' and 'below'")
        return self


class Spec(Section):
    """All tables of one paper."""

    paper: str = ""
    title: str
    pictures: bool = Field(False, description="its clips are pictures, so another source than videos")
    folds: int = Field(5, ge=3, description="folds at most; up to so many groups, each is left out in turn")
    settings: Settings = Field({}, description="for all rows and budgets")
    budgets: dict[str, Settings]
    tables: dict[str, Table]
    figures: dict[str, Figure] = Field({}, description="what the paper draws of its rows")
    claims: list[Claim] = Field([], description="what the paper says of its rows")

    @model_validator(mode="after")
    def rows_are_found(self) -> Self:
        rows = {name: [row.name for row in table.rows] for name, table in self.tables.items()}
        for name, names in rows.items():
            if len(set(names)) < len(names):
                raise ValueError(f"two rows of {name} have the same name")
        asked = [(f"claim '{c.says}'", c.table, [c.of, *c.against]) for c in self.claims]
        asked += [(f"figure '{name}'", f.table, f.rows) for name, f in self.figures.items()]
        for who, table, wanted in asked:
            for row in wanted:
                if row not in rows.get(table, ()):
                    raise ValueError(f"{who}: {table} has no row '{row}'")
        return self

    def content(self, row: Row, budget: str) -> Settings:
        """The settings of `row` before validation. Raises UserError for an unknown budget."""
        if budget not in self.budgets:
            raise UserError(f"{self.paper} has no budget '{budget}'; there are {', '.join(self.budgets)}.")
        own = row.budgets.get(budget, {})
        return reduce(merge, (self.settings, self.budgets[budget], row.set, own))

    def params(self, row: Row, budget: str, seed: int = 0) -> Params:
        """The settings of `row`, with `seed` added to the seed of every training.

        The seeds of teachers do not change, unless the row evaluates a teacher: so rows differ in the student
        only. Raises UserError when a setting does not fit.
        """
        where = f"{self.paper}, row '{row.name}'"
        params = resolve(self.content(row, budget), where)
        settings = params.model_dump(mode="json", by_alias=True)
        taught = {} if row.model.startswith(TEACHERS) else {"teachers": settings["teachers"]}
        return parse({**seeded(settings, seed), **taught}, Params, where)


def seeded(settings: Settings, seed: int) -> Settings:
    """`settings` with `seed` added to the seed of every `fit`."""
    found = {k: seeded(v, seed) if isinstance(v, dict) else v for k, v in settings.items()}
    if isinstance(fit := found.get("fit"), dict):
        found["fit"] = {**fit, "seed": fit["seed"] + seed}
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
