"""A doubtful window as it is kept: all but its pictures, which are in a file beside it."""

import json
import re
from dataclasses import asdict, dataclass

ID = r"\d{4}-\d\d-\d\dT\d{6}\.\d{3}-[A-Za-z0-9][A-Za-z0-9_-]*"
"""Ids, which are file names, too: when and where."""


@dataclass(frozen=True)
class Item:
    """A kept window, and how it was decided."""

    id: str
    """As ID."""
    suffix: str
    """Of its clip: `.mp4`, or `.png` for a network that sees pictures."""
    camera: str
    time: str
    """Of its last frame, ISO 8601 in UTC."""
    why: str
    """See `doubt.Doubtful`."""
    usefulness: float
    """See `doubt.Doubtful`."""
    answer: str
    """What the network named: a class, or `unknown`."""
    state: str | None
    """The agreed state of its camera."""
    probabilities: dict[str, float]
    """By class, 0..1."""
    unlikeness: float | None
    version: str
    """The network that answered."""
    place: tuple[float, ...] = ()
    """See `ClipClassifier.place`; comparable among windows of one version. Empty where it is not known."""
    label: str | None = None
    """The state that a person named."""
    dismissed: bool = False
    """Whether a person called it nonsense."""
    decided: str = ""
    """When it was labelled or dismissed, ISO 8601 in UTC; "" while it is open."""

    @property
    def clip(self) -> str:
        """Name of the file with its pictures."""
        return self.id + self.suffix

    @property
    def day(self) -> str:
        """Its day in UTC, as 2026-01-31."""
        return self.time[:10]

    @property
    def open(self) -> bool:
        """Whether nobody has decided about it."""
        return not self.decided

    def to_json(self) -> str:
        """The content of its file."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"


def item_id(time: str, camera: str) -> str:
    """The id of a window of `camera`, whose last frame is of `time` (ISO 8601 in UTC)."""
    return f"{time[:23].replace(':', '')}-{camera}"


def read_item(text: str, name: str) -> Item:
    """The item of the file `name`.json with this text. Raises ValueError when it is not one of ours."""
    try:
        content = json.loads(text)
        item = Item(**content | {"place": tuple(map(float, content["place"]))})
        ours = item.id == name and re.fullmatch(ID, name) and item.suffix in (".mp4", ".png")
        if not ours or not isinstance(item.usefulness, float) or not isinstance(item.probabilities, dict):
            raise ValueError("not an item of the inbox")
    except (TypeError, KeyError) as error:
        raise ValueError(f"not an item of the inbox: {error}") from error
    return item
