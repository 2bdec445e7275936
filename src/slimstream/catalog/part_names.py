"""The parts of a split (train, val, test) and the names that users give them."""

import re

from slimstream.catalog.names import normal_form

PARTS = ("train", "val", "test")
GIVEN_COLUMN = "given"
"""Group column that holds the part when folders are called train, val or test."""
PART_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Lower-case name → part."""


def part_named(name: str) -> str | None:
    """Return "train", "val" or "test" for a name such as `Training`, `valid` or `val2017`, else None."""
    return PART_WORDS.get(re.sub(r"[ _-]?(set|split|data|(19|20)\d\d)$", "", normal_form(name).casefold()))
