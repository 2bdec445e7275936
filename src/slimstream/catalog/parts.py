"""The parts of a split and what people call them."""

import re

from slimstream.catalog.names import normal

PARTS = ("train", "val", "test")
GIVEN = "given"
"""The column that folders called train, val and test become."""
WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of the parts, in small letters."""


def part_of(name: str) -> str | None:
    """train, val or test where `name` says so (`Training`, `valid`, `test_set`, `val2017`), else None."""
    return WORDS.get(re.sub(r"[ _-]?(set|split|data|(19|20)\d\d)$", "", normal(name).casefold()))
