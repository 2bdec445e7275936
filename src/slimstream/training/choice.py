"""What the stage `search` chose: a network, and what it sees of a clip. The stages after it read it here."""

import json
from typing import Any

from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.schema import Section, parse
from slimstream.training.params import TrainParams


class Choice(Section):
    """One candidate of the search."""

    model: str
    model_args: dict[str, Any] = {}
    """What its factory takes."""
    reduce: Reduction | None = None
    """What it sees of a pack; None: all."""
    strength: float | None = None
    """Strength of its head (inverse L2 penalty); None: that of `train.fit.head`."""

    def input(self, extract: ExtractParams) -> NetworkInput:
        """The input of this network, of packs made with `extract`. Raises UserError when they cannot serve."""
        try:
            return NetworkInput.of(extract, self.reduce)
        except ValueError as error:
            raise UserError(f"data/search.json does not fit these packs ({error}): run search again.") from error

    def settings(self, train: TrainParams) -> TrainParams:
        """How this network is trained: as `train` says, with a head of its own strength."""
        fit = train.fit
        if fit.head is not None and self.strength is not None:
            fit = fit.model_copy(update={"head": self.strength})
        return TrainParams(model=self.model, model_args=self.model_args, fit=fit)

    def is_that_of(self, train: TrainParams, extract: ExtractParams) -> bool:
        """Whether this is the network of `train`, which sees whole packs."""
        shown = self.input(extract)
        whole = self.reduce is None or self.reduce.frames in (None, extract.frames)
        whole = whole and (shown.channels, shown.shown_size) == (extract.channels, extract.size)
        return whole and (self.model, self.model_args) == (train.model, train.model_args)


def read_choices(paths: Paths) -> dict[str, Choice]:
    """The networks in data/search.json: `chosen`, and `best`, which may be the same.

    Empty where the search had one candidate only, or has not been run, as in a table of a paper. Raises
    UserError when the file is not one of `search`.
    """
    if not paths.search.exists():
        return {}
    try:
        content = json.loads(paths.search.read_text())
        found = {name: content[name] for name in ("chosen", "best") if content.get(name) is not None}
        return {
            name: parse({k: v for k, v in one.items() if k in Choice.model_fields}, Choice, str(paths.search))
            for name, one in found.items()
        }
    except (ValueError, AttributeError) as error:
        raise UserError(f"{paths.search} was not written by the stage search: run it again.") from error
