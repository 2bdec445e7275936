"""The modules that a program needs, found by reading the imports in their text; none is imported for it."""

import ast
import sys
from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder that holds the package."""
SAME = {"opencv-python": "opencv-python-headless"}
"""Distributions whose modules another one has, too."""


class Code:
    """What a module, and all that it imports, need where only some distributions are installed.

    A module is taken when an import leads to it and when all that it imports at its top is there. An import
    within a function may lead to a module that is left out: it fails when it is reached, with
    ModuleNotFoundError. Imports for type checkers count for nothing.
    """

    def __init__(self, entry: str, distributions: Collection[str], root: Path = ROOT) -> None:
        """`entry` is a module below `root`; `distributions` are normalised names, such as ruamel-yaml."""
        self._entry, self._root, self._package = entry, root, entry.partition(".")[0]
        known = packages_distributions().items()
        there = {name for name, found in known if any(_normal(each) in distributions for each in found)}
        self._there = there | sys.stdlib_module_names
        self._known: dict[tuple[str, bool], set[str]] = {}

    def files(self) -> list[Path]:
        """The files of the modules and of their packages, and the data beside them that they name; sorted."""
        found: set[Path] = set()
        for module in self._reached(self._entry, everywhere=True):
            if file := self._file(module):
                found |= {file, *_named_beside(file)}
        return sorted(found)

    def _reached(self, entry: str, everywhere: bool) -> set[str]:
        """The names that imports lead to from `entry`: of those at the top, or `everywhere`.

        The latter lead to no module that cannot be imported.
        """
        seen, waiting = {entry}, [entry]
        while waiting:
            found = self._imports(waiting.pop(), everywhere)
            if everywhere:
                found = {name for name in found if self._can_be_imported(name)}
            waiting += found - seen
            seen |= found
        return seen

    def _can_be_imported(self, module: str) -> bool:
        return all(
            name.partition(".")[0] in self._there | {self._package}
            for name in self._reached(module, everywhere=False)
        )

    def _imports(self, module: str, everywhere: bool) -> set[str]:
        """As `_find_imports`, which is asked once."""
        if (asked := (module, everywhere)) not in self._known:
            self._known[asked] = self._find_imports(*asked)
        return self._known[asked]

    def _find_imports(self, module: str, everywhere: bool) -> set[str]:
        """Names that `module` imports, and the packages around it. None for one that is not ours.

        Of `from a import b` both a and, if there is such a module, a.b.
        """
        if (file := self._file(module)) is None:
            return set()
        names = {module.rsplit(".", 1)[0]}
        for node in _statements(_tree(file), everywhere):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {node.module, *filter(self._file, below)}
        return names

    def _file(self, module: str) -> Path | None:
        path = self._root / module.replace(".", "/")
        return next(
            (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None
        )


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def _statements(node: ast.AST, everywhere: bool) -> Iterator[ast.AST]:
    """All below `node`, without what is for type checkers and, unless `everywhere`, without functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not everywhere:
            continue
        yield child
        yield from _statements(child, everywhere)


def _named_beside(file: Path) -> list[Path]:
    """The files that lie beside `file` and whose names it has as text; no modules."""
    texts = {
        node.value
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return [
        other
        for other in file.parent.iterdir()
        if other.name in texts and other.is_file() and other.suffix != ".py"
    ]


def _normal(distribution: str) -> str:
    name = distribution.lower().replace("_", "-").replace(".", "-")
    return SAME.get(name, name)
