"""What all sources give: recordings, which are frames in order with a clock."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event as Flag
from typing import TYPE_CHECKING

from slimstream.core.media import Frame

if TYPE_CHECKING:
    from slimstream.watch.footage import Footage

Shots = Iterator[tuple[float, Callable[[], Frame]]]
"""Frames in order: seconds on the clock of the recording, and a call that gives (H, W, 3) uint8 RGB."""


@dataclass(frozen=True)
class Recording:
    """Frames without a break: one file, or a stream from its opening to its end."""

    shots: Shots
    """Raises UnreadableVideo or OSError where the recording cannot be read, or not any more."""
    began: float | None = None
    """When the clock was zero, in seconds since 1970; None: the frames are of the moment they come in."""
    footage: "Footage | None" = None
    """Gives its last frames again; None where nobody asks for them."""


@dataclass(frozen=True)
class Source:
    """Where the pictures of a camera come from."""

    recordings: Callable[[Flag], Iterator[Recording]]
    """Its recordings; those that wait for more end when the flag is set."""
    live: bool
    """Whether frames come by themselves. If so, what is not looked at in time is lost, and an end is a break,
    after which the source is opened again. Otherwise nothing is lost, and the source may end."""
    fills: bool = False
    """Whether it waits for more recordings. If so, an error is a break as well."""
