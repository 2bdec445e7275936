"""Windows as tasks of Label Studio, and its labels (https://labelstud.io/guide/task_format)."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from slimstream.watch.inbox.item import Item

STATE = "state"
"""Name of the control with the states; `window` in the data of a task is the id."""


def write(folder: Path, items: Sequence[Item], states: Sequence[str], out: Path) -> None:
    """Write tasks.json, config.xml and the clips of `items`, which lie in `folder`, to `out`.

    What the network found is a prediction, what was labelled an annotation. Raises OSError.
    """
    (out / "clips").mkdir()
    for item in items:
        shutil.copyfile(folder / item.clip, out / "clips" / item.clip)
    tasks = [_task(item, out.name) for item in items]
    (out / "tasks.json").write_text(json.dumps(tasks, indent=1, ensure_ascii=False), encoding="utf-8")
    kind = _kind(items[0])
    choices = "".join(f"\n    <Choice value={quoteattr(state)}/>" for state in states)
    (out / "config.xml").write_text(
        f'<View>\n  <{kind.capitalize()} name="{kind}" value="${kind}"/>\n'
        f'  <Choices name="{STATE}" toName="{kind}" choice="single" showInLine="true">{choices}\n'
        "  </Choices>\n</View>\n",
        encoding="utf-8",
    )


def read(tasks: Any) -> dict[str, list[str]]:
    """Id → all that was said of it, from exported tasks: JSON, or JSON-MIN, as parsed.

    Raises ValueError, KeyError, TypeError or AttributeError when it is neither.
    """
    said: dict[str, list[str]] = {}
    for task in tasks:
        if "data" in task:
            id, named = task["data"]["window"], _annotated(task)
        else:
            id, named = task["window"], _chosen(task.get(STATE))
        if named:
            said.setdefault(str(id), []).extend(named)
    return said


def _task(item: Item, out: str) -> dict[str, Any]:
    kind = _kind(item)
    best = max(item.probabilities, key=lambda name: item.probabilities[name])
    predicted = {
        "model_version": item.version,
        "score": item.probabilities[best],
        "result": [_choice(kind, best)],
    }
    # Served by Label Studio itself, from the folder that LOCAL_FILES_DOCUMENT_ROOT names.
    data = {kind: f"/data/local-files/?d={out}/clips/{item.clip}", "window": item.id}
    data |= {"camera": item.camera, "time": item.time, "why": item.why}
    task: dict[str, Any] = {"data": data, "predictions": [predicted]}
    return task | ({"annotations": [{"result": [_choice(kind, item.label)]}]} if item.label else {})


def _choice(kind: str, name: str) -> dict[str, Any]:
    return {"from_name": STATE, "to_name": kind, "type": "choices", "value": {"choices": [name]}}


def _kind(item: Item) -> str:
    return "image" if item.suffix == ".png" else "video"


def _annotated(task: dict[str, Any]) -> list[str]:
    results = [
        result
        for annotation in task.get("annotations", [])
        if not annotation.get("was_cancelled")
        for result in annotation["result"]
    ]
    mine = [result for result in results if result["from_name"] == STATE]
    return [str(name) for result in mine for name in result["value"]["choices"]]


def _chosen(value: Any) -> list[str]:
    """What JSON-MIN holds for a control: nothing, one choice, or several."""
    if isinstance(value, dict):
        value = value["choices"]
    return [value] if isinstance(value, str) else [str(name) for name in value or []]
