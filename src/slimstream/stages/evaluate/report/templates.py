"""The templates of the report and their filters. Every string is escaped, except the SVG of this package."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimstream.runtimes import RUNTIMES
from slimstream.stages.evaluate.report import plots

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

FOLDER = Path(__file__).parent


def templates() -> "Environment":
    """The templates of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "si": _si,
        "ms": _ms,
        "soft": _breakable,
        "signed": plots.signed,
    }
    environment.filters["runtime"] = lambda name: RUNTIMES[name].title
    return environment


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.1f}"


def _si(x: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:.2f} {unit}"
    return f"{x:.0f}"


def _breakable(name: str) -> "Markup":
    """A name that may break after an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _ms(x: float) -> str:
    return f"{x:.0f}" if x >= 20 else f"{x:.1f}"
