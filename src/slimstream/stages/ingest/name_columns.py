"""Columns that are read from the names of clips, such as the camera in `gate/cam2_0001.mp4`."""

import re
from dataclasses import replace

from slimstream.catalog.listing import Item, Listing
from slimstream.catalog.manifest import RESERVED
from slimstream.catalog.names import normal_form
from slimstream.core.errors import UserError


def with_name_columns(listing: Listing, pattern: str | None) -> Listing:
    """`listing` with a column for each named group of the regular expression `pattern`, `ingest.columns`.

    It is searched in the key of each clip; a clip in which it is not found has empty values, and is
    quarantined when clips are grouped by them. Raises UserError when such a column is there already.
    """
    if pattern is None:
        return listing
    compiled = re.compile(pattern)
    clash = sorted(
        {*compiled.groupindex} & (RESERVED | {name for item in listing.items for name in item.groups})
    )
    if clash:
        raise UserError(
            f"params.yaml: ingest.columns names the column '{clash[0]}', which is there already: "
            "give the group of the expression another name."
        )
    named = [replace(item, groups={**item.groups, **_values(compiled, item)}) for item in listing.items]
    return replace(listing, items=named)


def _values(pattern: re.Pattern[str], item: Item) -> dict[str, str]:
    found = pattern.search(item.key)
    return {name: normal_form(found[name] or "") if found else "" for name in pattern.groupindex}
