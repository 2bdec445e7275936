"""Answered windows and kept ones for the tests of the inbox."""

from pathlib import Path
from typing import Any

import numpy as np

from slimstream.watch.inbox.item import Item, item_id
from slimstream.watch.inbox.store import Store
from slimstream.watch.looks import Look
from slimstream.watch.model import Model
from slimstream.watch.windows import Window
from tests.unit.watch import tiny

MORNING = 1_767_323_045.0
"""2026-01-02T03:04:05+00:00."""


def look(
    model: Model,
    label: str = "leak",
    p: float = 0.9,
    *,
    state: str | None = "leak",
    time: float = MORNING,
    camera: str = "gate",
    unlikeness: float = 0.5,
    features: Any = (),
) -> Look:
    """An answer for eight red frames; `p` is the probability of leak."""
    answer = {
        "path": "",
        "label": label,
        "p_leak": p,
        "p_normal": 1 - p,
        "unlikeness": unlikeness,
        "error": "",
    }
    picture = tiny.flat(tiny.RED)
    seconds = [number / 25 for number in range(8)]
    shown = [(second, picture) for second in seconds]
    window = Window(model, [picture] * 8, seconds, time, 0.0, lambda: iter(shown))
    return Look(camera, window, answer, np.asarray(features, float), list, state)


def item(second: int = 0, **more: Any) -> Item:
    """An open, uncertain window."""
    time = f"2026-01-02T03:04:{second:02}.000+00:00"
    camera = more.pop("camera", "gate")
    known: dict[str, Any] = {"suffix": ".mp4", "why": "uncertain", "usefulness": 0.9, "answer": "leak"}
    known |= {
        "place": tuple(more.pop("place", ())),
        "state": None,
        "probabilities": {"leak": 0.55, "normal": 0.45},
        "unlikeness": None,
    }
    return Item(item_id(time, camera), camera=camera, time=time, **(known | {"version": "tiny 1"} | more))


def kept(folder: Path, *items: Item) -> Store:
    """A store with these windows; their clips are no videos."""
    store = Store(folder)
    for each in items:
        store.add(each, _no_video)
    return store


def _no_video(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"clip")
