"""What a paper's tables hold: recipes/tables/<paper>.yaml as types.

A row is a params.yaml in the making. It is the base recipe, overridden in turn by the paper's `settings`,
those of the budget, the row's own `set`, and the row's own for that budget; so all rows of a table share what
they do not name, epochs and input above all.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML

from slimstream.errors import UserError
from slimstream.params import Params, Section, parse
from slimstream.paths import MODELS, Paths

Settings = dict[str, Any]
Metric = Literal["accuracy", "macro_precision", "macro_recall", "macro_f1"]
TEACHERS = "teachers/"


class Row(Section):
    name: str
    model: str = Field("original", description="which of the trained models is judged; teachers/<name>, too")
    count: bool = Field(False, description="parameters and MACs alone, nothing is trained")
    set: Settings = Field({}, description="what differs from the other rows, by section of params.yaml")
    budgets: dict[str, Settings] = Field({}, description="the same, for one budget alone")
    seeds: int = Field(1, ge=1, description="trainings per fold; 3 where a claim rests on the row")
    configurations: int = Field(1, ge=1, description="settings tried on these clips before these were kept")
    paper: dict[str, str | float] = Field({}, description="the paper's own figures, as printed")
    minutes: dict[str, float] = Field({}, description="measured cost of a seed on all folds, by budget")

    @model_validator(mode="after")
    def judges_something(self) -> Self:
        if self.model not in MODELS and not self.model.startswith(TEACHERS):
            raise ValueError(f"model must be {', '.join(MODELS)} or {TEACHERS}<name>")
        return self


class Table(Section):
    title: str
    rows: list[Row]


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
    base: str = Field(description="a file of recipes/")
    folds: int = Field(5, ge=3, description="folds at most; up to so many groups, each is left out in turn")
    settings: Settings = Field({}, description="for all rows and budgets")
    budgets: dict[str, Settings]
    tables: dict[str, Table]
    claims: list[Claim] = Field([], description="what the paper says of its rows")
    recipe: Settings = Field({}, description="content of the base recipe; filled in when read")

    @model_validator(mode="after")
    def claims_name_rows(self) -> Self:
        for name, table in self.tables.items():
            rows = [row.name for row in table.rows]
            if len(set(rows)) < len(rows):
                raise ValueError(f"two rows of {name} have the same name")
        for claim in self.claims:
            rows = [row.name for row in self.tables[claim.table].rows] if claim.table in self.tables else []
            for row in (claim.of, *claim.against):
                if row not in rows:
                    raise ValueError(f"claim '{claim.says}': {claim.table} has no row '{row}'")
        return self

    def content(self, row: Row, budget: str) -> Settings:
        """The params.yaml of `row`, unchecked."""
        if budget not in self.budgets:
            raise UserError(f"{self.paper} has no budget '{budget}'; there are {', '.join(self.budgets)}.")
        own = row.budgets.get(budget, {})
        return reduce(merge, (self.recipe, self.settings, self.budgets[budget], row.set, own))

    def params(self, row: Row, budget: str, seed: int = 0) -> Params:
        """The settings of `row`; every training has `seed` added to its own."""
        where = f"recipes/tables/{self.paper}.yaml, row '{row.name}'"
        params = parse(self.content(row, budget), Params, where)
        return parse(seeded(params.model_dump(mode="json", by_alias=True), seed), Params, where)


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


def load_spec(paper: str, paths: Paths) -> Spec:
    """Read recipes/tables/<paper>.yaml and its base recipe; raise UserError when one does not fit."""
    folder = paths.root / "recipes"
    known = sorted(file.stem for file in (folder / "tables").glob("*.yaml"))
    if paper not in known:
        raise UserError(
            f"There are no tables '{paper}' in {folder / 'tables'}; there are {', '.join(known)}."
        )
    file = folder / "tables" / f"{paper}.yaml"
    yaml = YAML(typ="safe")
    try:
        spec = Spec.model_validate({**yaml.load(file.read_text()), "paper": paper})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{file}: '{field}': {first['msg'].removeprefix('Value error, ')}.") from error
    base = folder / f"{spec.base}.yaml"
    if not base.exists():
        raise UserError(f"{file}: base names '{spec.base}', and there is no {base}.")
    return spec.model_copy(update={"recipe": yaml.load(base.read_text())})


def listing(spec: Spec, budget: str) -> str:
    """Tables and rows in words, with what a row was measured to cost."""
    lines = [spec.title]
    for name, table in spec.tables.items():
        lines += ["", f"{name}: {table.title}"]
        for row in table.rows:
            net = spec.content(row, budget)["train"]["model"]
            work = "counted" if row.count else f"{row.seeds} {'seeds' if row.seeds > 1 else 'seed'}"
            cost = f", {row.minutes[budget]:g} min a seed" if budget in row.minutes else ""
            of = f" of {net}" if row.model == "original" else ""
            lines.append(f"  {row.name}: {row.model}{of}, {work}{cost}")
    return "\n".join(lines)


def _map(value: Any) -> bool:
    return isinstance(value, Mapping)
