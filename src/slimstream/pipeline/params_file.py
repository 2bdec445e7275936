"""The text of params.yaml: every setting with its description, and the comments of its recipe."""

import inspect
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from slimstream.core.schema import Section, look_up
from slimstream.pipeline.params import Params
from slimstream.pipeline.recipes import Settings, load_recipe

WIDTH = 110
PLAIN = re.compile(r"[./]*[A-Za-z_]([\w./-]*\w)?", re.ASCII)
WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan")
"""Strings that need no quotes, and exceptions that would be read as another type without quotes."""
Key = tuple[str, ...]
"""The path of a setting, such as ("train", "fit", "lr"); () is the file itself."""


def from_recipe(
    path: Path, changes: Settings | None = None, told: Mapping[Key, str] | None = None, head: str = ""
) -> str:
    """The text of params.yaml for the recipe `path`. Raises UserError when the recipe is wrong.

    `changes` are settings that override those of the recipe, perhaps its name too; `told` are comments on
    them, which begin with that name; `head` is said of the whole file instead of what the recipe says.
    """
    params, base = load_recipe(path, changes), load_recipe(path).recipe
    comments = read_comments(path.read_text(encoding="utf-8"))
    comments = {key: lines for key, lines in comments.items() if not (key and _has(changes or {}, key))}
    comments |= {key: [text] for key, text in (told or {}).items()}
    if head:
        comments[()] = _wrapped(head, WIDTH - 2)
    about = (
        f"Made from {path.parent.name}/{path.name}: all settings, those of the recipe and the defaults of "
        f"the others. Comments that begin with '{base}:' are the recipe's. You may edit this file: "
        "edits that are not committed are never overwritten."
    )
    lines: list[str] = []
    for line in comments.pop((), []):
        if re.match(r"Made from \S+: all settings", line):  # the recipe is a copy of a params.yaml
            break
        lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    names = dict.fromkeys(comments, base) | dict.fromkeys(told or {}, params.recipe)
    return render(params, [*lines, *([""] if lines else []), *_wrapped(about, WIDTH - 2)], comments, names)


def _has(settings: Settings, key: Key) -> bool:
    try:
        look_up(settings, ".".join(key))
    except (KeyError, TypeError):
        return False
    return True


def render(params: Params, head: list[str], comments: dict[Key, list[str]], names: Mapping[Key, str]) -> str:
    """All of `params` as YAML, below the lines of `head` as comments.

    A setting is described where its type of section occurs first. The recipe's own `comments` are above the
    settings that they belong to, and begin with the name of the recipe that they are of, in `names`.
    """
    writer = _Writer(comments, names)
    writer.lines += [f"# {line}".rstrip() for line in head]
    writer.section(params, ())
    return "\n".join(writer.lines) + "\n"


class _Writer:
    def __init__(self, comments: dict[Key, list[str]], names: Mapping[Key, str]) -> None:
        self.lines: list[str] = []
        self._comments = comments
        self._names = names
        self._described: dict[type[Section], str] = {}

    def section(self, section: Section, at: Key) -> None:
        """Write every setting of `section`, whose path is `at`."""
        described = type(section) in self._described
        self._described.setdefault(type(section), ".".join(at))
        values = section.model_dump(mode="json", by_alias=True)
        for field_name, field in type(section).model_fields.items():
            name = field.alias or field_name
            key, value = (*at, name), getattr(section, field_name)
            description = "" if described else field.description or ""
            if not at and isinstance(value, Section | dict):
                self.lines.append("")
            if isinstance(value, Section):
                self._subsection(value, key, description)
            elif isinstance(value, dict) and any(isinstance(inner, Section) for inner in value.values()):
                self._comment(description, key)
                self._own_comments(key, description)
                self._line(key)
                for inner_name, inner in value.items():
                    self._subsection(inner, (*key, inner_name), "")
            else:
                self._setting(key, values[name], description)

    def _subsection(self, section: Section, key: Key, description: str) -> None:
        known = self._described.get(type(section))
        if known:
            described = f"described at {known}"
            self._own_comments(key, described)
            self._line(key, f"  # {described}")
        else:
            described = inspect.cleandoc(description or type(section).__doc__ or "")
            for paragraph in described.split("\n\n"):
                self._comment(paragraph, key)
            self._own_comments(key, described)
            self._line(key)
        self.section(section, key)

    def _setting(self, key: Key, value: Any, description: str) -> None:
        beside = f"  # {description}" if description else ""
        if 2 * len(key) + len(f"{key[-1]}: {inline(value)}{beside}") - 2 > WIDTH:
            self._comment(description, key)
            beside = ""
        self._own_comments(key, description, below=True)
        self._line(key, f" {inline(value)}{beside}")

    def _own_comments(self, key: Key, description: str, below: bool = False) -> None:
        """Write the recipe's comments on `key` and, with `below`, on all settings below it.

        Where the recipe is a copy of a params.yaml, its comments begin with `description` and the recipe's
        name, which are removed.
        """
        for about, comments in self._comments.items():
            if about == key or (below and about[: len(key)] == key):
                for comment in comments:
                    own = comment.removeprefix(" ".join(description.split())).strip()
                    if own := own.removeprefix(f"{self._names[about]}: "):
                        self._comment(f"{self._names[about]}: {own}", key)

    def _comment(self, text: str, key: Key) -> None:
        indent = "  " * (len(key) - 1) + "# "
        self.lines += [indent + line for line in _wrapped(text, WIDTH - len(indent))]

    def _line(self, key: Key, rest: str = "") -> None:
        self.lines.append(f"{'  ' * (len(key) - 1)}{inline(key[-1])}:{rest}")


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, width, break_long_words=False, break_on_hyphens=False)


def inline(value: Any) -> str:
    """`value` (of JSON's types) as YAML on one line, with the same meaning in YAML 1.1 and 1.2."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline(key)}: {inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, float):
        if not math.isfinite(value):
            return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in text)


def read_comments(text: str) -> dict[Key, list[str]]:
    """The comments of a YAML file, by the setting on the same line or, for whole lines, the next one below.

    All lines above a setting are one comment. The lines above the first setting belong to the file, one
    string each. Lines below the last setting are left out.
    """
    scalars: list[tuple[int, int]] = []
    keys: dict[int, Key] = {}
    _survey(YAML(typ="safe").compose(text), (), scalars, keys, set())
    found: dict[Key, list[str]] = {}
    above: list[str] = []
    last: Key = ()
    start = 0
    for number, line in enumerate(text.split("\n")):
        signs = [match.start() for match in re.finditer(r"(?<!\S)#", line)]
        sign = next((at for at in signs if not any(a <= start + at < b for a, b in scalars)), None)
        start += len(line) + 1
        if number in keys:
            if above:
                found.setdefault(keys[number] if last else (), []).extend(
                    [" ".join(above)] if last else above
                )
                above = []
            last = keys[number]
        if sign is not None:
            comment = line[sign + 1 :].strip()
            if line[:sign].strip():
                found.setdefault(last, []).append(comment)
            else:
                above.append(comment)
    return found


def _survey(
    node: Node | None, at: Key, scalars: list[tuple[int, int]], keys: dict[int, Key], seen: set[int]
) -> None:
    """Collect the positions of scalars (they may contain '#') and the first setting of each line."""
    if node is None or id(node) in seen:  # a node seen before is an alias
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        scalars.append((node.start_mark.index, node.end_mark.index))
    elif isinstance(node, MappingNode):
        for name, value in node.value:
            key = at if name.value == "<<" else (*at, str(name.value))
            keys.setdefault(name.start_mark.line, key)
            _survey(name, at, scalars, keys, seen)
            _survey(value, key, scalars, keys, seen)
    else:
        for item in node.value:
            _survey(item, at, scalars, keys, seen)
