"""What is known of one camera: its undisturbed first day, in a file, so that a restart forgets nothing."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimstream.core.files import atomic_write
from slimstream.runtimes.seen import NETWORK
from slimstream.watch.drift.blocks import NAMES, SECONDS, Block, Row
from slimstream.watch.drift.judge import Values
from slimstream.watch.drift.scene import Scene

FIRST = 30
"""Blocks, one hour, from which on a camera is judged."""
DAY = round(24 * 3600 / SECONDS)
"""Blocks of a day, with which it is compared: night and day look different."""
ALL = range(len(NAMES))
BY_NETWORK = [NAMES.index(name) for name in NETWORK]
BY_PICTURE = [i for i in range(len(NAMES)) if i not in BY_NETWORK]


@dataclass
class Sample:
    """Blocks in the order of time."""

    values: list[Row] = field(default_factory=list)
    """Of each (len(NAMES),)."""
    shares: list[dict[str, float]] = field(default_factory=list)
    """Of each, as `Block.shares`."""

    def __len__(self) -> int:
        return len(self.values)

    def add(self, block: Block) -> None:
        self.values.append(block.values)
        self.shares.append(block.shares)

    def of(self, state: str) -> "Sample":
        """The blocks of which most windows had this answer."""
        chosen = [i for i, shares in enumerate(self.shares) if max(shares, key=shares.__getitem__) == state]
        return Sample([self.values[i] for i in chosen], [self.shares[i] for i in chosen])

    def table(self, columns: Sequence[int]) -> Values:
        """The values (n, len(columns))."""
        return np.array(self.values).reshape(-1, len(NAMES))[:, columns]


@dataclass
class Known:
    """What is known of a camera."""

    model: str
    """The network that answered."""
    size: tuple[int, int]
    """Height and width of the pictures that were measured: sharpness depends on it."""
    scene: Scene | None = None
    """What stands still; None in the first hour."""
    pictures: Sample = field(default_factory=Sample)
    """The first DAY of undisturbed blocks."""
    answers: Sample = field(default_factory=Sample)
    """The same since the present network answers."""
    day: Sample = field(default_factory=Sample)
    """The blocks of today, disturbed or not."""
    date: str = ""
    """Today, in UTC."""
    disturbed: str = ""
    """One of `judge.KINDS` while the camera is disturbed."""
    told: float = 0.0
    """When that was told last, in seconds since 1970."""
    unlike: list[str] = field(default_factory=list)
    """What the last whole day was unlike: `its first day`, `what was learnt`."""

    def save(self, file: Path) -> None:
        """Write it. Raises OSError."""
        from safetensors.numpy import save

        samples = {"pictures": self.pictures, "answers": self.answers, "day": self.day}
        arrays: dict[str, npt.NDArray[Any]] = {name: s.table(ALL) for name, s in samples.items()}
        if self.scene is not None:
            arrays["scene"] = self.scene
        plain = {
            key: getattr(self, key) for key in ("model", "size", "date", "disturbed", "told", "unlike")
        } | {"shares": {name: sample.shares for name, sample in samples.items()}, "names": NAMES}
        with atomic_write(file) as half:
            half.write_bytes(
                save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, {"known": json.dumps(plain)})
            )


def read_known(file: Path) -> Known:
    """The contents of a file. Raises OSError, ValueError or KeyError when it is missing or not ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as opened:
            plain: dict[str, Any] = json.loads(opened.metadata()["known"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError) as error:
        raise ValueError(str(error)) from error
    shares = plain.pop("shares")
    if plain.pop("names") != list(NAMES):
        raise ValueError("it has other measures")
    plain |= {name: Sample(list(arrays[name].astype(float)), shares[name]) for name in shares}
    return Known(**plain | {"size": tuple(plain["size"]), "scene": arrays.get("scene")})


def usual_state(blocks: Sequence[Block]) -> str:
    """The state of most of the blocks."""
    return Counter(block.state for block in blocks).most_common(1)[0][0]
