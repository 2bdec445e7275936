"""Parameters that a form of Prefect's UI offers as a choice."""

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


def recipe_names() -> list[str]:
    """`auto` and the recipes in recipes/, sorted."""
    return [AUTO, *sorted(file.stem for file in RECIPES.glob("*.yaml"))]


Recipe = Annotated[str | None, Choice(recipe_names)]
