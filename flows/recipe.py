"""Writes params.yaml from a recipe and never overwrites edits of the user.

    python -m flows.recipe tank --source ../clips

writes the file and runs nothing; `flows.retrain` does the same before it runs the stages.
"""

import argparse
import io
import sys
from contextlib import suppress
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from slimstream.core.errors import UserError, system_error
from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.core.schema import look_up
from slimstream.core.simulated import SIMULATED
from slimstream.pipeline.auto import auto_params
from slimstream.pipeline.params import load_params
from slimstream.pipeline.params_file import from_recipe, inline
from slimstream.pipeline.recipes import AUTO
from slimstream.splits.columns import check_columns
from slimstream.stages.ingest.new_states import Needs
from slimstream.stages.ingest.params import IngestParams, holds_credentials
from slimstream.stages.ingest.reserved_folders import check_ingested, check_source
from slimstream.stages.ingest.scan import scan
from slimstream.tracking.repository import git, in_git

ROOT = Path(__file__).resolve().parent.parent


def apply_recipe(paths: Paths, recipe: str | None, source: str | None, home: Paths | None = None) -> None:
    """Write params.yaml from the recipe `recipe` with the source `source`; None leaves either unchanged.

    The file then has every setting and the recipe's comments. A relative source is below the checkout `home`,
    by default `paths`. Raises UserError for an unknown recipe, when params.yaml has edits that are neither
    committed nor a recipe (they would be lost), when params.yaml lacks settings that DVC needs, for a source
    that holds credentials, and for one that is a folder of the project itself.
    """
    home = home or paths
    if source and holds_credentials(source):  # said without them, and before they are written anywhere
        raise UserError("The source names credentials: they belong in the environment, not in an address.")
    if recipe is not None:
        wanted = _text(paths, recipe, source, home)
        if recipe == AUTO and _has_own_settings(paths, source, wanted):
            print(
                f"auto: {paths.params} is for {source} and used as it is, since it may have edits of yours; "
                "delete it to have it made anew."
            )
            return apply_recipe(paths, None, None, home)
        if paths.params.exists() and _is_edited(paths, wanted):
            edits, keep = "uncommitted edits", "commit them, or "
            if not in_git(paths):
                edits, keep = "edits", ""
            raise UserError(
                f"{paths.params} has {edits} that the recipe {recipe!r} would overwrite; "
                f"{keep}save them as a recipe of their own in recipes/. To run with them as they are: "
                "python -m flows.retrain, with --source for other clips."
            )
    else:
        load_params(paths.params)
        _check_whole(paths)
        if source is None:
            return
        wanted = with_source(paths.params.read_text(encoding="utf-8"), source)
    # Checked before anything changes, because the first stage empties its output folder.
    check_source(_source(wanted) or IngestParams().source, home)
    check_ingested(paths)
    if not paths.params.exists() or paths.params.read_text(encoding="utf-8") != wanted:
        with atomic_write(paths.params) as half:
            half.write_text(wanted, encoding="utf-8")
        if recipe == AUTO:
            print(f"auto: {paths.params} is made for {source} and gives the reasons.", flush=True)
    if recipe is not None:
        paths.made_params.parent.mkdir(parents=True, exist_ok=True)
        paths.made_params.write_text(wanted, encoding="utf-8")


def check_clips(paths: Paths) -> None:
    """Raise UserError when params.yaml names a folder that cannot be listed, or columns that it lacks.

    The scan says the same, but `flows.retrain` first starts a server.
    """
    params = load_params(paths.params)
    if params.ingest.source not in SIMULATED and "://" not in params.ingest.source:
        needs = Needs.of(params.validate_.min_clips, params.split.given)
        found = scan(params.ingest, params.split.group_by, paths, write=False, needs=needs)
        check_columns(found.items, params.split, params.validate_.classes)


def _text(paths: Paths, recipe: str, source: str | None, home: Paths) -> str:
    """The params.yaml that `recipe` makes for `source`. Raises UserError for an unknown or wrong recipe."""
    recipes = paths.root / "recipes"
    if recipe == AUTO:
        return auto_params(source, recipes, home)
    file = recipes / f"{recipe}.yaml"
    if not file.is_file():
        known = ", ".join(sorted([AUTO, *(path.stem for path in recipes.glob("*.yaml"))]))
        raise UserError(f"There is no recipe {recipe!r}; there are: {known}.")
    return with_source(from_recipe(file), source)


def _has_own_settings(paths: Paths, source: str | None, wanted: str) -> bool:
    """Whether params.yaml is for the recipe `auto` and `source`, with edits, committed or not."""
    last = paths.made_params
    try:
        text = paths.params.read_text(encoding="utf-8")
        params = load_params(paths.params)
    except (OSError, ValueError, UserError):  # a file that cannot be read as text, too
        return False
    made = [wanted, *([last.read_text(encoding="utf-8")] if last.is_file() else [])]
    return (params.recipe, params.ingest.source) == (AUTO, source) and text not in made


def with_source(text: str, source: str | None) -> str:
    """The text of a params file with another `ingest.source`; everything else is kept as written."""
    node = _source_node(text)
    if source is None or (node is not None and node.value == source):
        return text
    safe = YAML(typ="safe")
    wanted = safe.load(text) or {}
    wanted.setdefault("ingest", {})["source"] = source
    if node is not None:
        replaced = text[: node.start_mark.index] + inline(source) + text[node.end_mark.index :]
        with suppress(YAMLError):  # an alias has the node of another setting
            if safe.load(replaced) == wanted:
                return replaced
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    content = yaml.load(text) or {}
    content.setdefault("ingest", {})["source"] = source
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


def _is_edited(paths: Paths, wanted: str) -> bool:
    """Whether params.yaml has edits that would be lost.

    It has none if it equals `wanted`, the committed file, a recipe (with any source), or the file that was
    last made from a recipe, which may have been edited since.
    """
    try:
        text = paths.params.read_text(encoding="utf-8")
        source = _source(text)
    except (UnicodeDecodeError, YAMLError):
        return True
    if text in (wanted, git(paths, "show", "HEAD:./params.yaml")):
        return False
    last = paths.made_params
    if last.is_file() and text == with_source(last.read_text(encoding="utf-8"), source):
        return False
    return not any(text in _as_params(file, source) for file in (paths.root / "recipes").glob("*.yaml"))


def _as_params(recipe: Path, source: str | None) -> list[str]:
    """The texts of params.yaml after applying `recipe` with `source`, and after copying it."""
    try:
        texts = [from_recipe(recipe), recipe.read_text(encoding="utf-8")]
    except UserError:  # params.yaml cannot come from a wrong recipe
        return []
    return [with_source(text, source) for text in texts]


def _check_whole(paths: Paths) -> None:
    """Raise UserError when params.yaml, perhaps a copy of a recipe, lacks a setting that dvc.yaml names."""
    settings, graph = (
        YAML(typ="safe").load(file.read_text(encoding="utf-8")) or {}
        for file in (paths.params, paths.root / "dvc.yaml")
    )
    for stage in graph.get("stages", {}).values():
        for name in stage.get("params", []):
            try:
                look_up(settings, name)
            except (KeyError, TypeError) as error:
                raise UserError(
                    f"{paths.params} lacks '{name}', which DVC looks up there: save it as "
                    "recipes/NAME.yaml and run `python -m flows.recipe NAME`, which makes a params.yaml "
                    "with all settings."
                ) from error


def _source(text: str) -> str | None:
    """The value of `ingest.source` in the params file `text`; None when it is not set."""
    settings = YAML(typ="safe").load(text)
    ingest = settings.get("ingest") if isinstance(settings, dict) else None
    return ingest.get("source") if isinstance(ingest, dict) else None


def _source_node(text: str) -> Node | None:
    """The YAML node of `ingest.source` in the params file `text`; None when it is not set."""
    node = YAML(typ="safe").compose(text)
    for name in ("ingest", "source"):
        pairs = node.value if isinstance(node, MappingNode) else []
        node = next((value for key, value in pairs if key.value == name), None)
    return node


def main(argv: list[str] | None = None) -> int:
    """Write params.yaml; returns 0, or 2 after a mistake of the user."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.recipe", description="Write params.yaml from a recipe; nothing is run."
    )
    parser.add_argument("recipe", help="a file of recipes/ (without .yaml), or auto: as the clips ask for")
    parser.add_argument("--source", help="where the clips are: a folder, s3://bucket/prefix or a plant")
    args = parser.parse_args(argv)
    try:
        apply_recipe(Paths(ROOT), args.recipe, args.source)
    except UserError as error:
        print(f"recipe: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"recipe: {system_error(error, ROOT)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
