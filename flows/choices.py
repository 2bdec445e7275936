"""Types of parameters, as forms of Prefect's UI show them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from slimstream.pipeline.recipes import AUTO

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


@dataclass(frozen=True)
class Choice:
    """Annotation of a parameter: the form lists `names()`, as they are when the flow is deployed.

    Other values are not refused here; the flow itself says what is wrong with one.
    """

    names: Callable[[], list[str]]

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "enum": self.names()}


KEEP = "params.yaml"
"""Instead of a recipe: params.yaml stays as it is."""


def recipe_names() -> list[str]:
    """KEEP, `auto`, and the recipes in recipes/, sorted."""
    return [KEEP, AUTO, *sorted(file.stem for file in RECIPES.glob("*.yaml"))]


@dataclass(frozen=True)
class TextField:
    """Annotation of a text that may be left out: the form shows a plain field instead of asking for a type.

    Its default is "": a form sends every default, and refuses to send None as a text.
    """

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string"}


Text = Annotated[str | None, TextField()]
Recipe = Annotated[str | None, Choice(recipe_names)]
