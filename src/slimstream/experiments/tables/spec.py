"""What a paper's tables hold: recipes/tables/<paper>.yaml as types.

A row is a params.yaml in the making: the paper's `settings`, overridden in turn by those of the budget, by
the row's own `set`, and by the row's own for that budget. What none of them names keeps its default, so all
rows of a table share it, epochs and input above all.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slimstream.core.errors import UserError
from slimstream.core.paths import MODELS, TEACHERS, Paths
from slimstream.core.schema import Section, load, parse
from slimstream.pipeline.params import Params

FOLDER = "recipes/tables"
Settings = dict[str, Any]
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
        if self.model not in MODELS and not self.model.startswith(TEACHERS):
            raise ValueError(f"model must be {', '.join(MODELS)} or {TEACHERS}<name>")
        return self


class Table(Section):
    title: str
    rows: list[Row]
    note: str = Field("", description="what we make of it, why the order is another than the paper's, say")


class Figure(Section):
    """What a paper draws of some rows of a table."""

    title: str
    table: str
    rows: list[str]
    curves: list[Curve] = Field([], description="columns over the epochs; none: confusion matrices")


class Claim(Section):
    """`of` minus `against` (each of them) lies above or below a threshold, as shares: 0.02 is two points."""

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
        """The params.yaml of `row`, unchecked."""
        if budget not in self.budgets:
            raise UserError(f"{self.paper} has no budget '{budget}'; there are {', '.join(self.budgets)}.")
        own = row.budgets.get(budget, {})
        return reduce(merge, (self.settings, self.budgets[budget], row.set, own))

    def params(self, row: Row, budget: str, seed: int = 0) -> Params:
        """The settings of `row`, `seed` added to that of every training.

        Teachers keep theirs, unless it is they who are judged: what a row varies is who learns from them.
        """
        where = f"{self.paper}, row '{row.name}'"
        params = parse(self.content(row, budget), Params, where)
        settings = params.model_dump(mode="json", by_alias=True)
        taught = {} if row.model.startswith(TEACHERS) else {"teachers": settings["teachers"]}
        return parse({**seeded(settings, seed), **taught}, Params, where)


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Settings:
    """`lower` overridden by `upper`, mapping by mapping; lists are replaced.

    Whoever names another `model` leaves the old one's `model_args` behind.
    """
    kept = {k: v for k, v in lower.items() if k != "model_args" or "model" not in upper}
    both = {k: merge(kept[k], v) for k, v in upper.items() if _map(kept.get(k)) and _map(v)}
    return {**kept, **upper, **both}


def seeded(settings: Settings, seed: int) -> Settings:
    """`settings` with `seed` added to that of every `fit`."""
    found = {k: seeded(v, seed) if isinstance(v, dict) else v for k, v in settings.items()}
    if isinstance(fit := found.get("fit"), dict):
        found["fit"] = {**fit, "seed": fit["seed"] + seed}
    return found


def load_specs(paper: str, paths: Paths) -> list[Spec]:
    """The tables of `paper`, or of every paper when it is 'all'."""
    known = sorted(file.stem for file in (paths.root / FOLDER).glob("*.yaml"))
    if paper != "all" and paper not in known:
        raise UserError(
            f"There are no tables '{paper}' in {paths.root / FOLDER}; there are {', '.join([*known, 'all'])}."
        )
    return [load_spec(name, paths) for name in (known if paper == "all" else [paper])]


def load_spec(paper: str, paths: Paths) -> Spec:
    """Read recipes/tables/<paper>.yaml; raise UserError when it does not fit."""
    spec = load(paths.root / FOLDER / f"{paper}.yaml", Spec, "tables are files of that folder.")
    return spec.model_copy(update={"paper": paper})


def listing(spec: Spec, budget: str) -> str:
    """Tables and rows in words."""
    lines = [spec.title]
    for name, table in spec.tables.items():
        lines += ["", f"{name}: {table.title}"]
        for row in table.rows:
            net = spec.params(row, budget).train.model
            work = "counted" if row.count else f"{row.seeds} {'seeds' if row.seeds > 1 else 'seed'}"
            of = f" of {net}" if row.model == "original" else ""
            lines.append(f"  {row.name}: {row.model}{of}, {work}")
    return "\n".join(lines)


def _map(value: Any) -> bool:
    return isinstance(value, Mapping)
