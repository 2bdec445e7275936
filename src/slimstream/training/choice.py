"""What the stage `search` chose: a network, and what it sees of a clip. The stages after it read it here."""

import json
from typing import Any

from pydantic import Field

from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.schema import Section, parse
from slimstream.models import without_defaults
from slimstream.training.params import TrainParams


class Choice(Section):
    """One candidate of the search."""

    model: str
    model_args: dict[str, Any] = Field({}, description="what its factory takes")
    reduce: Reduction | None = Field(None, description="what it sees of a pack; null: all")

    def input(self, extract: ExtractParams) -> NetworkInput:
        """How a raw clip becomes the input of this network.

        Raises UserError when packs made with `extract` cannot serve it.
        """
        try:
            return NetworkInput.of(extract, self.reduce)
        except ValueError as error:
            raise UserError(
                f"data/search.json does not fit these packs ({error}): run search again."
            ) from error

    def is_that_of(self, train: TrainParams, extract: ExtractParams) -> bool:
        """Whether this is the network of `train`, which sees whole packs."""
        shown = self.input(extract)
        whole = self.reduce is None or self.reduce.frames in (None, extract.frames)
        whole = whole and (shown.channels, shown.shown_size) == (extract.channels, extract.size)
        own, other = (without_defaults(p.model, p.model_args) for p in (self, train))
        return whole and self.model == train.model and own == other


def read_choices(paths: Paths) -> dict[str, Choice]:
    """The networks in data/search.json: `chosen`, and `best`, which may be the same.

    Empty where the search has not been run, as for the table of a paper. Raises UserError when the file is
    not one of `search`.
    """
    if not paths.search.exists():
        return {}
    try:
        content = json.loads(paths.search.read_text())
        found = {name: content[name] for name in ("chosen", "best") if content[name] is not None}
        wanted = {name: {k: one[k] for k in Choice.model_fields} for name, one in found.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{paths.search} was not written by the stage search: run it again.") from error
    return {name: parse(one, Choice, str(paths.search)) for name, one in wanted.items()}
