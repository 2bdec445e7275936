"""Names as people type them: what looks alike is one name, what differs in case or spacing is told."""

import re
import unicodedata
from collections.abc import Iterable

HIDDEN = {"Cc", "Cf"}
"""Unicode categories without a picture: zero-width blanks, soft hyphens, byte order marks, controls."""
FILLERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What else has none (Default_Ignorable_Code_Point): joiners, fillers, variation selectors."""


def normal(text: str) -> str:
    """The form in which names are compared: NFC, no invisible characters, single blanks, none at the ends."""
    seen = (
        char for char in FILLERS.sub("", text) if char.isspace() or unicodedata.category(char) not in HIDDEN
    )
    return " ".join(unicodedata.normalize("NFC", "".join(seen)).split())


def alike(names: Iterable[str]) -> list[list[str]]:
    """Names that differ in case, blanks, underscores or hyphens alone: `OK, ok`; `no load, no-load`."""
    sets: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        folded = unicodedata.normalize("NFKC", name).casefold()
        # Between letters a hyphen joins words; before a digit it may be a minus.
        sets.setdefault(re.sub(r"[\s_]+|(?<=[^\W\d])-+(?=[^\W\d])", "", folded), []).append(name)
    return [found for found in sets.values() if len(found) > 1]
