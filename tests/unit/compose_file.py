"""infra/compose.yaml as Compose reads it: merged, and with its variables filled in."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).parents[2] / "infra"
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


def load(name: str = "compose.yaml", variables: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The file with `${…}` filled in; raises KeyError for one that must be there and is not."""

    def fill(match: re.Match[str]) -> str:
        variable, rule, rest = match.groups()
        if value := variables.get(variable):
            return value
        if rule == ":-":
            return str(rest)
        raise KeyError(variable)

    content: dict[str, Any] = yaml.safe_load(VARIABLE.sub(fill, (INFRA / name).read_text()))
    return content


def example() -> dict[str, str]:
    """The variables of .env.example, the empty ones filled in with their own names."""
    lines = (INFRA / ".env.example").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name: value or f"secret-of-{name}" for name, value in found.items()}
