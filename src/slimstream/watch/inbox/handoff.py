"""Windows for teams that label elsewhere: out to Label Studio or CVAT, and labels back from their files."""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.watch.inbox import cvat, label_studio, labels
from slimstream.watch.inbox.item import Item
from slimstream.watch.inbox.store import Store

Said = Mapping[str, Sequence[str]]
"""Id of a window → all that was said of it: states, or NONSENSE."""
NONSENSE = "nonsense"
WRITERS: dict[str, Callable[[Path, Sequence[Item], Sequence[str], Path], None]] = {
    "label-studio": label_studio.write,
    "cvat": cvat.write,
}


def export(store: Store, to: str, out: Path) -> int:
    """Write all windows but dismissed ones to the new folder `out`, as the tool `to` reads them.

    Returns how many. Raises UserError when there are none, and when `out` is there already.
    """
    items = [item for item in store.items().values() if not item.dismissed]
    if not items:
        raise UserError(f"{store.folder} holds no windows to export.")
    if out.exists():
        raise UserError(f"{out} is there already: name a folder that is not.")
    states = sorted({state for item in items for state in (*item.probabilities, item.label) if state})
    out.mkdir(parents=True)
    try:
        WRITERS[to](store.folder, items, [*states, NONSENSE], out)
    except BaseException:
        shutil.rmtree(out)  # this call has made it
        raise
    return len(items)


def listed(store: Store) -> str:
    """A line for each open window, the likeliest most useful first, and how many are labelled."""
    items = store.items().values()
    waiting = sorted((item for item in items if item.open), key=lambda item: -item.usefulness)
    lines = [f"{item.id}  {item.why}  answered {item.answer}" for item in waiting]
    return "\n".join(
        [*lines, f"{len(waiting)} open, {sum(item.label is not None for item in items)} labelled."]
    )


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    labelled: int
    dismissed: int
    skipped: dict[str, str]
    """Id → why nothing was done."""

    def __str__(self) -> str:
        lines = [f"{self.labelled} windows labelled, {self.dismissed} dismissed."]
        lines += [f"  skipped {id}: {why}" for id, why in list(self.skipped.items())[:10]]
        if len(self.skipped) > 10:
            lines.append(f"  … and {len(self.skipped) - 10} more")
        return "\n".join(lines)


def import_labels(store: Store, file: Path) -> Imported:
    """Label the windows as `file` says: JSON or JSON-MIN of Label Studio, XML of CVAT, or its ZIP.

    A window that two people name differently, or that is not here, is skipped with a reason; so is one that
    was decided here already. Raises UserError when the file cannot be read.
    """
    said = read(file)
    states = labels.states_of(store, {name for i in store.items().values() for name in i.probabilities})
    done, gone, skipped = 0, 0, dict[str, str]()
    for id, names in said.items():
        item = store.items().get(id)
        if item is None:
            skipped[id] = "no such window in the inbox"
        elif len(set(names)) > 1:
            skipped[id] = f"labelled differently: {', '.join(sorted(set(names)))}"
        elif not item.open:
            skipped[id] = "" if item.label == names[0] else "decided here already"
        elif names[0] == NONSENSE:
            labels.dismiss(store, id)
            gone += 1
        else:
            try:
                state = labels.checked_state(names[0], states)
            except UserError as error:
                skipped[id] = str(error)
                continue
            labels.label(store, id, state)
            states = [*states, state] if state not in states else states
            done += 1
    return Imported(done, gone, {id: why for id, why in skipped.items() if why})


def read(file: Path) -> Said:
    """What a file of either tool says. Raises UserError when it cannot be read."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as packed:
                return cvat.read(packed.read("annotations.xml"))
        content = file.read_bytes()
        if content.lstrip()[:1] == b"<":
            return cvat.read(content)
        return label_studio.read(json.loads(content))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{file} is neither JSON of Label Studio nor XML of CVAT (or its ZIP): {error}"
        ) from error
