"""Compare names that users type: equal on the screen means equal; near-equal names are reported."""

import re
import unicodedata
from collections.abc import Iterable

INVISIBLE = {"Cc", "Cf"}
"""Unicode categories of invisible characters: zero-width blanks, soft hyphens, byte order marks."""
FILLERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Further invisible characters (Default_Ignorable_Code_Point): joiners, fillers, variation selectors."""

UNKNOWN = "unknown"
"""Label of a clip that is unlike all clips which a network has learnt from; no class may have this name."""


def normal_form(text: str) -> str:
    """Return `text` in NFC, without invisible characters, with single blanks and none at the ends."""
    seen = (
        char
        for char in FILLERS.sub("", text)
        if char.isspace() or unicodedata.category(char) not in INVISIBLE
    )
    return " ".join(unicodedata.normalize("NFC", "".join(seen)).split())


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Return groups of names that differ only in case, blanks, underscores or hyphens, such as `OK`, `ok`."""
    sets: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        folded = unicodedata.normalize("NFKC", name).casefold()
        # Between letters a hyphen joins words; before a digit it may be a minus.
        sets.setdefault(re.sub(r"[\s_]+|(?<=[^\W\d])-+(?=[^\W\d])", "", folded), []).append(name)
    return [found for found in sets.values() if len(found) > 1]
