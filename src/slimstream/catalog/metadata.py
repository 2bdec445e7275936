"""Parse a metadata.csv, with the encodings and separators that common spreadsheet programs write."""

import csv
import io
import re

from slimstream.catalog.manifest import RESERVED
from slimstream.catalog.names import normal_form
from slimstream.core.errors import UserError

REQUIRED_COLUMNS = ("path", "label")
SEPARATORS = (",", ";", "\t", "|")


def read_metadata(content: bytes, name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and (line number, cells) of every row that is not blank. All cells are stripped.

    Accepts comma, semicolon, tab or bar as separator, UTF-8 or UTF-16, and a first line `sep=;`. `Path` and
    `Label` are read as `path` and `label`. Raises UserError when the file cannot be read; `name` is the file
    name used in the message.
    """
    text = _decoded(content, name)
    separator, skipped = None, 0
    if found := re.match(r'"?sep=([^\r\n])"?[,;\t ]*(\r\n|\r|\n|$)', text, re.I):  # a line for Excel
        separator, skipped, text = found[1], 1, text[found.end() :]
    separator = separator or _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            while cells and not cells[-1]:  # an empty last column, from a separator at the end of the line
                del cells[-1]
            if cells:
                lines.append((reader.line_num + skipped, cells))
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num + skipped}: {error}.") from error
    header = _known_columns([normal_form(column) for column in lines[0][1]] if lines else [])
    _check(header, name)
    return header, lines[1:]


def _decoded(content: bytes, name: str) -> str:
    encoding = "utf-8-sig"  # Excel puts a byte order mark in front
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in content[:2]:  # UTF-16 without a byte order mark
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        return content.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        # A legacy encoding cannot be detected reliably, and a wrong guess would change names.
        raise UserError(
            f"{name} is neither UTF-8 nor UTF-16 text: save it again, in Excel as 'CSV UTF-8'."
        ) from error


def _separator(text: str) -> str:
    """Return the separator that finds the most required columns, then the most columns."""
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")

    def found(separator: str) -> tuple[int, int]:
        try:
            columns = next(csv.reader([first], delimiter=separator), [])
        except csv.Error:  # a cell of more than 128 KiB; read_metadata names the line
            return 0, 0
        header = _known_columns([normal_form(column) for column in columns])
        return len({*REQUIRED_COLUMNS} & {*header}), len(header)

    return max(SEPARATORS, key=found)


def _known_columns(header: list[str]) -> list[str]:
    """Rename `Path` to `path` and `Label` to `label`, unless that is ambiguous."""
    for wanted in REQUIRED_COLUMNS:
        rivals = [place for place, column in enumerate(header) if column.casefold() == wanted]
        if wanted not in header and len(rivals) == 1:
            header = [*header[: rivals[0]], wanted, *header[rivals[0] + 1 :]]
    return header


def _check(header: list[str], name: str) -> None:
    if missing := [column for column in REQUIRED_COLUMNS if column not in header]:
        found = ", ".join(header) or "nothing"
        raise UserError(f"{name} lacks the column {' and '.join(missing)}; its first line has: {found}.")
    if "" in header or len(set(header)) < len(header):
        raise UserError(f"{name}: a column has no name or one that is there twice; give each its own.")
    if clash := sorted(set(header) & (RESERVED - {*REQUIRED_COLUMNS})):
        raise UserError(f"{name}: the manifest itself uses the column name {', '.join(clash)}; rename it.")
