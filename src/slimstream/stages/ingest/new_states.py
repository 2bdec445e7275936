"""States that were named in the inbox of `watch` and that no clip of the source has.

Their clips join once a network can learn the state and be judged on it; until then they are left out.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from slimstream.catalog.listing import LABELLED, Item, Listing
from slimstream.stages.ingest.held_out import HeldOut, group


@dataclass(frozen=True)
class Needs:
    """The smallest numbers of clips and groups with which a new state is learnt."""

    clips: int = 1
    groups: int = 1
    """Two where the split is made here: one to learn from and one to be judged on."""

    @classmethod
    def of(cls, min_clips: int, given: str | None) -> "Needs":
        """For these values of validate.min_clips and split.given."""
        return cls(min_clips, 1 if given else 2)


NOTHING = Needs()
"""Then each clip joins."""


def without_few(
    listing: Listing,
    known: Collection[str],
    needs: Needs,
    group_by: Sequence[str],
    tested: Callable[[], HeldOut],
) -> tuple[Listing, list[str]]:
    """`listing` without labelled clips of new states that have too few, and a sentence about each new state.

    A state that joins is not spoken of if it is `known`, as one of the last listing. Nothing is learnt from
    groups that are `tested`.
    """
    own = {item.label for item in listing.items if not item.key.startswith(LABELLED)}
    new: dict[str, list[Item]] = defaultdict(list)
    for item in listing.items:
        if item.label not in own:
            new[item.label].append(item)
    told, few = [], set()
    for state, items in sorted(new.items()):
        lacking = _lacking(items, needs, group_by, tested())
        if lacking:
            few.add(state)
        if lacking or state not in known:
            count = f"{len(items)} clip{'s' * (len(items) > 1)}"
            told.append(f"the inbox names a new state {state!r} with {count}{lacking}.")
    return replace(listing, items=[item for item in listing.items if item.label not in few]), told


def _lacking(items: Sequence[Item], needs: Needs, group_by: Sequence[str], tested: HeldOut) -> str:
    """What the clips of a state lack, as the end of a sentence; "" when they are enough."""
    # Without the columns of the split each clip is a group.
    names = [group(i.groups, group_by) if {*group_by} <= i.groups.keys() else i.key for i in items]
    learnable = any(not tested.has_group(item.groups, group_by) for item in items)
    clips = needs.clips - len(items)
    groups = max(needs.groups - len(set(names)), 0 if learnable else 1)
    by = f" by {', '.join(group_by)}" if group_by else ""
    never = "" if learnable else " that was never in the test part"
    lacking = [f"{clips} more clip{'s' * (clips > 1)}"] if clips > 0 else []
    lacking += [f"clips of {groups} more group{'s' * (groups > 1)}{by}{never}"] if groups > 0 else []
    return f", left out until there are {' and '.join(lacking)}" if lacking else ""
