"""YAML files as types: a group of settings a class, and a sentence for what does not fit."""

import difflib
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slimstream.core.errors import UserError

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen group of settings in which a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Section)


def load(path: Path, model: type[S], where: str) -> S:
    """Read the YAML file `path` as a `model`; a UserError names the field and the mend.

    `where` says how to come by a file that is missing.
    """
    try:
        content = YAML(typ="safe").load(path.read_text()) or {}
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: {where}") from error
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse(content, model, str(path))


def parse(content: Any, model: type[S], where: str) -> S:
    """`content` as a `model`; a UserError names `where` and the field that does not fit."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_sentence(error, model)}") from error


def _sentence(error: ValidationError, model: type[Section]) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        known = _known_fields(first["loc"][:-1], model)
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return f"unknown setting '{field}'" + (
            f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}."
        )
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"'{field}': {first['msg'].removeprefix('Value error, ')}{more}."


def _known_fields(loc: tuple[int | str, ...], model: Any) -> list[str]:
    for part in loc:
        if get_origin(model) is dict:  # its names are the user's own
            model = get_args(model)[1]
            continue
        fields = {(f.alias or name): f for name, f in model.model_fields.items()}
        model = fields[str(part)].annotation
        if type(None) in get_args(model):
            model = get_args(model)[0]
    return [f.alias or name for name, f in model.model_fields.items()]
