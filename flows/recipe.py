"""params.yaml from a recipe, without ever losing what a user wrote there."""

import io

from ruamel.yaml import YAML

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import load_params
from slimstream.stages.ingest.own_folders import check_ingested, check_source
from slimstream.stages.ingest.params import IngestParams
from slimstream.tracking.run import git, in_git


def apply(paths: Paths, recipe: str | None, source: str | None, home: Paths | None = None) -> None:
    """Make params.yaml the recipe of that name, reading from `source`; None leaves either as it is.

    Comments survive. `home` is the checkout that a relative source belongs to, if not `paths`. Raises
    UserError for an unknown recipe, when params.yaml holds edits that are neither committed nor a recipe
    (they would be lost), and for a source that is a folder of the pipeline's own.
    """
    home = home or paths
    if recipe is not None:
        file = paths.root / "recipes" / f"{recipe}.yaml"
        if not file.is_file():
            known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
            raise UserError(f"There is no recipe {recipe!r}; there are: {known}.")
        load_params(file)  # a mistake in it is one sentence
        wanted = with_source(file.read_text(), source)
        if paths.params.exists() and _is_edited(paths, wanted):
            edits, keep = "uncommitted edits", "commit them, or "
            if not in_git(paths):
                edits, keep = "edits", ""
            raise UserError(
                f"{paths.params} has {edits} that the recipe {recipe!r} would overwrite; "
                f"{keep}save them as a recipe of their own in recipes/."
            )
    elif source is not None:
        load_params(paths.params)
        wanted = with_source(paths.params.read_text(), source)
    else:
        return
    # Before anything is touched: the first stage empties what the next scan would have listed.
    check_source(_source(wanted) or IngestParams().source, home)
    check_ingested(paths)
    if not paths.params.exists() or paths.params.read_text() != wanted:
        paths.params.write_text(wanted)


def with_source(text: str, source: str | None) -> str:
    """The params file `text` with another `ingest.source`; everything else stays as it is written."""
    if source is None:
        return text
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    content = yaml.load(text)
    content.setdefault("ingest", {})["source"] = source
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


def _is_edited(paths: Paths, wanted: str) -> bool:
    """Whether params.yaml is neither what is wanted, nor committed, nor a recipe (with whatever source)."""
    text = paths.params.read_text()
    kept = [wanted, git(paths, "show", "HEAD:./params.yaml")]
    if text in kept:
        return False
    source = _source(text)
    recipes = (paths.root / "recipes").glob("*.yaml")
    return text not in (with_source(recipe.read_text(), source) for recipe in recipes)


def _source(text: str) -> str | None:
    """What the params file `text` names as the source of the clips; None when it names none."""
    ingest = (YAML(typ="safe").load(text) or {}).get("ingest") or {}
    return ingest.get("source")
