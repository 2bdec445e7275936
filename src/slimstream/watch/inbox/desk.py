"""What a person sees of the inbox and does about it: kept windows and suspected labels in one list."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from slimstream.core.errors import UserError
from slimstream.core.media import is_picture
from slimstream.watch.inbox import labels
from slimstream.watch.inbox.item import Item
from slimstream.watch.inbox.store import Store
from slimstream.watch.inbox.suspects import Suspected, Suspects
from slimstream.watch.model import Model

LIKELY = 3
"""States that are shown with their probabilities."""
DECIDED = 20
"""Decisions that can be taken back."""


class Desk:
    """Kept windows and suspects, by id."""

    def __init__(self, store: Store, suspects: Suspects, model: Callable[[], Model]) -> None:
        """`model` gives the network in use: its classes can be named, its suspects are shown."""
        self._store, self._suspects, self._model = store, suspects, model

    @property
    def count(self) -> int:
        """What is open, without suspects where corrections.csv cannot be read."""
        try:
            return len(self._open())
        except UserError:  # the page of the inbox says what is wrong
            return sum(item.open for item in self._store.items().values())

    @property
    def states(self) -> list[str]:
        """The states that can be named so far."""
        return labels.states_of(self._store, self._model().classifier.classes)

    def shown(self) -> dict[str, Any]:
        """All that the page shows, as JSON, the likeliest most useful first.

        Raises UserError when corrections.csv cannot be read.
        """
        items = self._store.items().values()
        done = [_decided(i.id, i.label, i.camera, i.time, i.decided) for i in items if not i.open]
        suspects = self._all_suspects().items()
        done += [_decided(id, each.label, each.key, "", "") for id, each in suspects if each.label]
        return {
            "states": self.states,
            "open": sorted(self._open(), key=lambda each: -each["usefulness"]),
            "decided": sorted(done, key=lambda each: each["decided"], reverse=True)[:DECIDED],
            "labelled": sum(item.label is not None for item in items),
        }

    def label(self, id: str, state: str) -> None:
        """Say what a window or clip shows. Raises KeyError, UserError for a wrong name, and OSError."""
        state = labels.checked_state(state, self.states)
        if id in self._store.items():
            labels.label(self._store, id, state)
        else:
            self._suspects.decide(self._export, id, state)

    def dismiss(self, id: str) -> None:
        """Say that a window is nonsense, or that a suspected label is right. Raises KeyError and OSError."""
        if id in self._store.items():
            labels.dismiss(self._store, id)
        else:
            self._suspects.decide(self._export, id, self._all_suspects()[id].suspect.given)

    def undo(self, id: str) -> None:
        """Open it again. Raises KeyError and OSError."""
        if id in self._store.items():
            labels.undo(self._store, id)
        else:
            self._suspects.decide(self._export, id, "")

    def clip(self, id: str) -> Path:
        """The file that shows it. Raises KeyError for what is not there, and OSError or ValueError."""
        item = self._store.items().get(id)
        return self._store.folder / item.clip if item else self._suspects.clip(self._export, id)

    @property
    def _export(self) -> Path:
        return self._model().classifier.folder

    def _all_suspects(self) -> dict[str, Suspected]:
        return self._suspects.items(self._export)

    def _open(self) -> list[dict[str, Any]]:
        found = [_window(item) for item in self._store.items().values() if item.open]
        return found + [_suspect(each) for each in self._all_suspects().values() if not each.label]


def _window(item: Item) -> dict[str, Any]:
    likely = sorted(item.probabilities.items(), key=lambda pair: -pair[1])[:LIKELY]
    return {
        "id": item.id,
        "why": item.why,
        "where": item.camera,
        "time": item.time,
        "usefulness": item.usefulness,
        "state": item.state,
        "answer": item.answer,
        "unlikeness": item.unlikeness,
        "likely": likely,
        "picture": item.suffix != ".mp4",
    }


def _suspect(each: Suspected) -> dict[str, Any]:
    found = each.suspect
    return {
        "id": found.id,
        "why": "suspected",
        "where": each.key,
        "time": "",
        "usefulness": found.p_suggested - found.p_given,
        "state": found.given,
        "answer": found.suggested,
        "unlikeness": None,
        "likely": [(found.suggested, found.p_suggested), (found.given, found.p_given)],
        "picture": is_picture(PurePosixPath(each.key)),
    }


def _decided(id: str, label: str | None, where: str, time: str, decided: str) -> dict[str, Any]:
    return {"id": id, "label": label, "where": where, "time": time, "decided": decided}
