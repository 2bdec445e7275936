"""Typed YAML files: one class per group of settings, and one-sentence messages for invalid values."""

import difflib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slimstream.core.errors import UserError

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base class of a group of settings. Immutable; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    removed: ClassVar[Mapping[str, str]] = {}
    """Settings of earlier versions → what to do now."""


S = TypeVar("S", bound=Section)


def load(path: Path, model: type[S], where: str) -> S:
    """Read the YAML file `path` and validate it as `model`.

    Raises UserError when the file is missing (`where` says how to get it), is not valid YAML, or has an
    unknown or invalid field.
    """
    return parse(read(path, where), model, str(path))


def read(path: Path, where: str) -> Any:
    """The content of the YAML file `path`, {} when it holds none; raises UserError when it cannot be read.

    `where` says how to come by a file that is missing.
    """
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: {where}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as such.") from error
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return {} if content is None else content


def look_up(settings: Mapping[str, Any], name: str) -> Any:
    """The section or the single setting `name` in the content of a YAML file: "extract", "ingest.source".

    Raises KeyError when it is not there.
    """
    return reduce(lambda found, part: found[part], name.split("."), settings)


def parse(content: Any, model: type[S], where: str) -> S:
    """Validate `content` as `model`. Raises UserError with `where` and the first invalid field."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_message(error, model)}") from error


def _message(error: ValidationError, model: type[Section]) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    if field in model.removed:
        return f"there is no '{field}' any more: {model.removed[field]}"
    if first["type"] == "extra_forbidden":
        known = _known_fields(first["loc"][:-1], model)
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return f"unknown setting '{field}'" + (
            f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}."
        )
    if first["input"] is None:
        return f"'{field}' is null; give it a value, or leave it out to keep its default."
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"'{field}': {first['msg'].removeprefix('Value error, ')}{more}."


def _known_fields(loc: tuple[int | str, ...], model: Any) -> list[str]:
    for part in loc:
        if get_origin(model) is dict:  # its keys are chosen by the user
            model = get_args(model)[1]
            continue
        fields = {(f.alias or name): f for name, f in model.model_fields.items()}
        model = fields[str(part)].annotation
        if type(None) in get_args(model):
            model = get_args(model)[0]
    return [f.alias or name for name, f in model.model_fields.items()]
