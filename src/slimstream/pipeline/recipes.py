"""Recipes: files of settings that differ from their defaults, and the rules by which they are merged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimstream.core.errors import UserError
from slimstream.core.schema import Section, parse, read
from slimstream.pipeline.params import Params

Settings = dict[str, Any]
"""Settings by section, as in a YAML file."""

AUTO = "auto"
"""Name of the recipe that is no file of recipes/: `pipeline/auto.py` makes its settings."""
REPLACES = {
    "model": "model_args",
    "rate": "target_params",
    "target_params": "rate",
    "frames": "fraction",
    "fraction": "frames",
}
"""A setting → another one of the same section that is removed when the first is overridden.

Arguments belong to their model, and of two alternatives, such as `frames` and `fraction`, one may be set.
"""


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Settings:
    """`lower` overridden by `upper`: mappings are merged; lists and other values, also null, are replaced."""
    behind = {REPLACES.get(key) for key, value in upper.items() if value is not None}
    kept = {key: value for key, value in lower.items() if key not in behind}
    both = {k: merge(kept[k], v) for k, v in upper.items() if _is_map(kept.get(k)) and _is_map(v)}
    return {**kept, **upper, **both}


def resolve(overrides: Any, where: str) -> Params:
    """All settings: the `overrides`, and defaults for all others.

    Raises UserError, which names `where` and the setting, for one that is unknown or has a wrong value.
    """
    if not isinstance(overrides, Mapping):
        raise UserError(f"{where} must hold settings by section, such as 'extract: {{frames: 8}}'.")
    # The default of a section may set more than the defaults of its fields: one of two alternatives.
    defaults = {
        field.alias or name: section.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for name, field in Params.model_fields.items()
        if isinstance(section := field.get_default(call_default_factory=True), Section)
    }
    return parse(merge(defaults, overrides), Params, where)


def load_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Params:
    """The settings of the recipe `path`, overridden by `changes`.

    Its name is that of the file, unless it sets `recipe`. A recipe may be a whole params.yaml, which
    overrides every default. Raises UserError when it is missing or wrong.
    """
    overrides = read(path, "recipes are files of the folder recipes/.")
    if isinstance(overrides, Mapping):
        overrides = merge({"recipe": path.stem, **overrides}, changes or {})
    return resolve(overrides, str(path))


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)
