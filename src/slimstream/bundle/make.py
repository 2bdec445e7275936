"""The command `bundle`: network, preprocessing, card, code and locked packages in one file, signed."""

import json
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from slimstream.bundle import wheels as packages
from slimstream.bundle.code import ROOT, Code
from slimstream.bundle.sign import check_key, sign
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.registry.card import bundle_card
from slimstream.registry.scores import FILE as SCORES
from slimstream.runtimes import RUNTIMES, find_runtime
from slimstream.runtimes.base import Form, read_forms, write_forms
from slimstream.serving.predict import deployed_model, find_version
from slimstream.serving.sealed import (
    CARD,
    FORMAT,
    LOCK,
    MANIFEST,
    MODEL,
    SIGNATURE,
    WHEELS,
    hashes,
    write_sealed,
)
from slimstream.serving.trained import is_trained

ENTRY = "slimstream.cli.edge"
START = '''\
"""Start of a bundle: `python3 FILE COMMAND`."""

import sys
from pathlib import Path

if __name__ == "__main__":  # not in the processes that it starts
    if sys.version_info[:2] not in {versions}:
        sys.exit("This bundle needs {needs}.")
    from slimstream.cli.edge import main

    sys.exit(main(Path(sys.argv[0])))
'''
PYTHONS = ((3, 11), (3, 12))
"""Versions of Python that the packages are locked for, as in pyproject.toml."""
KEPT = (
    *("model", "recipe", "source", "git_commit", "dirty", "dvc_lock_sha256", "network_sha256", "form_sha256"),
    *("split_hash", "group_by", "mlflow_runs", "flow_run_id"),
)
"""What a bundle keeps of the lineage: not the lists of clips, which may name people and places."""
LEFT_OUT = {"card.json", "lineage.json", "suspects.json", SCORES}
"""Files of a version about the clips that it learnt from, or of what stands in the card."""


@dataclass(frozen=True)
class Origin:
    """A deployed network and what the registry knows of it."""

    name: str
    folder: Path
    description: str = ""
    lineage: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def make_bundle(
    wanted: str,
    paths: Paths,
    out: Path | None = None,
    key: Path | None = None,
    runtime: str | None = None,
    wheels: str | None = None,
    *,
    force: bool = False,
) -> str:
    """Write the bundle of a network and return what to say of it.

    Args:
        wanted: as for `deployed_model`, but no bundle.
        out: the file; None: named after the network, in the working folder.
        key: PEM file of the private key to sign with; None: no signature.
        runtime: what runs it; None: what the stage export chose. All its forms go along.
        wheels: "x86_64" or "aarch64", for which the packages are downloaded into it; None: not at all.
        force: whether `out` may be there already.

    Raises UserError when there is no such network, form or key, when `out` is there, and when pip has no
    packages.
    """
    if key is not None:
        check_key(key)
    if wheels is not None:
        packages.check_machine(wheels)
    origin = _origin(wanted, paths)
    out = out or Path(re.sub(r"[^\w.-]+", "-", origin.name) + ".pyz")
    if out.exists() and not force:
        raise UserError(f"{out} is there already: name another file with --out, or say --force.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / out.stem
        form = _copy_model(origin.folder, folder / MODEL, runtime)
        package = find_runtime(form.runtime).packages[0]
        lock = _lock(package)
        (folder / LOCK).write_text(lock)
        _copy_code(folder, lock)
        if wheels:
            packages.download(folder / LOCK, folder / WHEELS, wheels)
        (folder / CARD).write_text(bundle_card(origin.name, origin.folder, origin.description, out.name))
        _write_manifest(folder, origin, form)
        if key is not None:
            sign(folder, folder / SIGNATURE, key)
        with atomic_write(out) as half:
            write_sealed(folder, half)
    signed = f"signed with {key}" if key else "not signed: name a --key"
    return f"{out} is {origin.name}, run by {form.runtime}, {out.stat().st_size / 1e6:.1f} MB, {signed}."


def _origin(wanted: str, paths: Paths) -> Origin:
    path = Path(wanted)
    if path.is_file():
        raise UserError(f"{path} is a file: name a registered version, or a folder of exports/ or models/.")
    if (path / "preprocessing.json").is_file() or is_trained(path):
        return Origin(path.resolve().name, deployed_model(wanted, paths))
    registry, version = find_version(wanted, paths)
    return Origin(
        f"{registry.name} {version}",
        registry.fetch(version, paths.cache / "served"),
        registry.description(version),
        registry.lineage(version),
        registry.tags()[version],
    )


def _copy_model(source: Path, target: Path, runtime: str | None) -> Form:
    """Copy all forms of the network and what serving needs with them; returns the form that runs."""
    chosen, forms = read_forms(source)
    there = {
        form.runtime: form
        for form in forms
        if form.runtime in RUNTIMES
        and all(file.is_file() for file in find_runtime(form.runtime).paths(source))
    }
    asked = runtime or chosen.runtime
    if asked not in there:
        raise UserError(f"{source} has no form for {asked}; it has {', '.join(there) or 'none'}.")
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file() and file.name not in LEFT_OUT:
            shutil.copyfile(file, target / file.name)
    write_forms(target, there[asked], list(there.values()))
    return there[asked]


def _lock(package: str) -> str:
    """The locked packages for a runtime. They are part of the code: docs/contributing.md says how to lock."""
    return files(__package__).joinpath(f"{package}.lock").read_text("utf-8")


def _copy_code(folder: Path, lock: str) -> None:
    """Copy the modules that run with the packages of `lock`, and write what starts them."""
    distributions = set(re.findall(r"^([\w-]+)==", lock, re.MULTILINE))
    for file in Code(ENTRY, distributions).files():
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    needs = "Python " + " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    (folder / "__main__.py").write_text(START.format(versions=PYTHONS, needs=needs))
    if (licence := ROOT.parent / "LICENSE").is_file():
        shutil.copyfile(licence, folder / "LICENSE")


def _write_manifest(folder: Path, origin: Origin, form: Form) -> None:
    content = {
        "format": FORMAT,
        "name": origin.name,
        "runtime": form.runtime,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "tags": {key: origin.tags[key] for key in ("gate", "gate_reasons", "macro_f1") if key in origin.tags},
        "lineage": {key: origin.lineage[key] for key in KEPT if key in origin.lineage},
        "files": hashes(folder),
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
