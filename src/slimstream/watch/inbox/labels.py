"""Decisions of a person about kept windows: a state, nonsense, or taken back."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from slimstream.catalog.names import UNKNOWN, normal_form, similar_names
from slimstream.core.errors import UserError
from slimstream.watch.inbox.item import Item
from slimstream.watch.inbox.store import Store

NAME = re.compile(r"\w[\w .()+-]{0,62}\w|\w")
"""Names of states; none can be a path or a formula of a spreadsheet."""


def checked_state(name: str, known: Iterable[str]) -> str:
    """`name` in its normal form, as the name of a state. `known` are the states so far.

    Raises UserError where it cannot be one, and where it looks like a known one.
    """
    name, known = normal_form(name), set(known)
    if name in known:  # a class may have a name that a person could not give it here
        return name
    if not NAME.fullmatch(name):
        raise UserError(
            "A state is named by letters, digits, blanks and . _ ( ) + - alone, at most 64 of them."
        )
    if name.casefold() == UNKNOWN:
        raise UserError(f"{UNKNOWN!r} is what a network answers, no state: name it, or dismiss the window.")
    if alike := next((rival for rival in known if similar_names([rival, name])), None):
        raise UserError(
            f"{name!r} looks like the state {alike!r}, which there is: take that, or another name."
        )
    return name


def states_of(store: Store, classes: Iterable[str]) -> list[str]:
    """The states that can be named: `classes` of the network, then those that were named so far."""
    classes = list(classes)
    named = {item.label for item in store.items().values() if item.label}
    return [*classes, *sorted(named - {*classes})]


def find(store: Store, id: str) -> Item:
    """The window with this id. Raises KeyError when it is not there."""
    return store.items()[id]


def label(store: Store, id: str, state: str) -> Item:
    """Say that a window shows `state`, which was checked. Raises KeyError and OSError."""
    return _decide(store, id, label=state, dismissed=False, decided=_now())


def dismiss(store: Store, id: str) -> Item:
    """Say that a window is nonsense; it is deleted a day later. Raises KeyError and OSError."""
    return _decide(store, id, label=None, dismissed=True, decided=_now())


def undo(store: Store, id: str) -> Item:
    """Open a window again. Raises KeyError and OSError."""
    return _decide(store, id, label=None, dismissed=False, decided="")


def _decide(store: Store, id: str, *, label: str | None, dismissed: bool, decided: str) -> Item:
    with store.lock:
        item = replace(find(store, id), label=label, dismissed=dismissed, decided=decided)
        store.change(item)
    return item


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
