"""Windows as pictures with tags, in CVAT's format for images 1.1 (https://docs.cvat.ai/docs/other/xml_format).

CVAT tags pictures, not stretches of a video: its format for videos has no tags. So a window is a sheet of
nine pictures, in order.
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import cv2
import numpy as np

from slimstream.clips.video import open_clip
from slimstream.core.media import Frame
from slimstream.watch.inbox.item import Item

SIDE = 3
"""Pictures in a row and in a column of a sheet."""
WIDTH = 480
"""Pixels of one of them at most."""


def write(folder: Path, items: Sequence[Item], states: Sequence[str], out: Path) -> None:
    """Write annotations.xml, labels.json and images/<id>.jpg for `items`, with clips in `folder`, to `out`.

    Only what was labelled has a tag: what a network found could not be told from labels. labels.json is for
    the raw editor of a new task's labels. Raises OSError, and UnreadableVideo for a damaged clip.
    """
    (out / "images").mkdir()
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for name, text in (("name", "slimstream"), ("size", str(len(items))), ("mode", "annotation")):
        ElementTree.SubElement(task, name).text = text
    named = ElementTree.SubElement(task, "labels")
    for state in states:
        label = ElementTree.SubElement(named, "label")
        ElementTree.SubElement(label, "name").text = state
        ElementTree.SubElement(label, "type").text = "tag"
        ElementTree.SubElement(label, "attributes")
    for number, item in enumerate(items):
        seen = sheet(folder / item.clip)
        data = cv2.imencode(".jpg", cv2.cvtColor(seen, cv2.COLOR_RGB2BGR))[1].tobytes()
        (out / "images" / f"{item.id}.jpg").write_bytes(data)
        height, width = seen.shape[:2]
        of = {"id": str(number), "name": f"{item.id}.jpg", "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", of)
        if item.label:
            ElementTree.SubElement(image, "tag", {"label": item.label, "source": "manual"})
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(out / "annotations.xml", encoding="utf-8", xml_declaration=True)
    kinds = [{"name": state, "type": "tag", "attributes": []} for state in states]
    (out / "labels.json").write_text(json.dumps(kinds, indent=1, ensure_ascii=False), encoding="utf-8")


def read(content: bytes) -> dict[str, list[str]]:
    """Id → the tags of its picture, from an annotations.xml. Raises ValueError when it is none."""
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # CVAT writes none; entities can fill the memory
        raise ValueError("it declares a document type, which CVAT does not")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    if root.tag != "annotations":
        raise ValueError("its root is not `annotations`")
    said = {
        PurePosixPath(image.get("name", "")).stem: [tag.get("label", "") for tag in image.iter("tag")]
        for image in root.iter("image")
    }
    return {id: names for id, names in said.items() if names}


def sheet(clip: Path) -> Frame:
    """Nine frames of a clip, evenly spread, as one picture (H, W, 3); a picture file as it is."""
    with open_clip(clip) as reader:
        frames = [reader.picture() for _ in reader]
    if len(frames) == 1:
        return frames[0]
    height, width = frames[0].shape[:2]
    size = min(width, WIDTH), max(1, round(height * min(width, WIDTH) / width))
    chosen = np.linspace(0, len(frames) - 1, SIDE * SIDE).round().astype(int)
    small = [cv2.resize(frames[i], size, interpolation=cv2.INTER_AREA) for i in chosen]
    rows = [np.hstack(small[i : i + SIDE]) for i in range(0, SIDE * SIDE, SIDE)]
    return np.asarray(np.vstack(rows), np.uint8)
