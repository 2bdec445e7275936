"""Registered versions: list, promote, roll back, and read their lineage.

The alias `champion` marks the version in service. The tags `promoted_at` and `rolled_back_at` of the versions
record its history, which a rollback reads.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from slimstream.core.errors import Unavailable, UserError
from slimstream.core.files import make_once
from slimstream.core.paths import Paths
from slimstream.registry import artifacts, gate
from slimstream.registry.card import CHAMPION_CARD, model_description, version_card, with_standing
from slimstream.registry.challenger import Challenger
from slimstream.registry.params import PublishParams
from slimstream.registry.scores import FILE as SCORES
from slimstream.registry.scores import count_scores
from slimstream.stages.evaluate.verdict import Verdict
from slimstream.stages.ingest.held_out import HeldOut
from slimstream.tracking.address import tracking_uri
from slimstream.tracking.database import EXPERIMENT, database
from slimstream.tracking.errors import without_password
from slimstream.tracking.repository import git
from slimstream.tracking.store import connect, own_login

CHAMPION = "champion"
TAG_LENGTH = 4900
"""Maximum length of a tag value in characters."""


def promote(name: str, version: int, paths: Paths, force: bool = False) -> str:
    """Make `version` the champion and return a sentence about it.

    Raises UserError for an unknown version and, without `force`, for a version that the gate refused or that
    was rolled back.
    """
    registry = Registry(name, paths)
    tags = registry.tags()
    if version not in tags:
        known = ", ".join(map(str, sorted(tags))) or "none"
        raise UserError(f"{name} has no version {version}; registered: {known}.")
    before = registry.champion()
    if version == before:
        registry.tell_champion()
        return f"{name} version {version} is champion already."
    doubt = "was refused by the gate" if tags[version].get("gate") == "refused" else ""
    doubt = "was rolled back" if "rolled_back_at" in tags[version] else doubt
    if doubt and not force:
        raise UserError(f"{name} version {version} {doubt}; say --force to promote it all the same.")
    registry.client.delete_model_version_tag(name, str(version), "rolled_back_at")
    registry.promote(version)
    instead = f" instead of version {before}" if before else ""
    return f"{name} version {version} is champion{instead}{' though it ' + doubt if doubt else ''}."


def rollback(name: str, paths: Paths) -> str:
    """Make the previous champion the champion again and return a sentence about it.

    Raises UserError when there is no earlier champion.
    """
    registry = Registry(name, paths)
    leads = registry.champion()
    promoted = registry.promoted()
    earlier = promoted[: promoted.index(leads)] if leads in promoted else promoted
    if leads is None or not earlier:
        raise UserError(
            f"{name} has no earlier champion to go back to; `python -m slimstream versions` lists all."
        )
    registry.tag(leads, rolled_back_at=utc_now())
    registry.make_champion(earlier[-1])
    return f"{name} version {earlier[-1]} is champion again; version {leads} was rolled back."


def model_names(paths: Paths) -> list[str]:
    """Names of all registered models, sorted."""
    return sorted(model.name for model in connect(paths).search_registered_models(max_results=1000))


def versions(name: str, paths: Paths) -> pd.DataFrame:
    """One row per version, newest first: champion, model, macro-F1, verdict, dates, reasons for a refusal."""
    registry = Registry(name, paths)
    champion = registry.champion()
    rows = [
        {
            "version": number,
            "champion": "*" if number == champion else "",
            **{
                key: tags.get(key, "")
                for key in ("model", "macro_f1", "gate", "promoted_at", "rolled_back_at")
            },
            "why": tags.get("gate_reasons", "").replace("\n", "; ") if tags.get("gate") == "refused" else "",
        }
        for number, tags in sorted(registry.tags().items(), reverse=True)
    ]
    columns = ["version", "champion", "model", "macro_f1", "gate", "promoted_at", "rolled_back_at", "why"]
    return pd.DataFrame(rows, columns=columns)


def held_out(name: str, paths: Paths, uris: Iterable[str]) -> tuple[HeldOut, list[str]]:
    """Return the test clips and groups recorded by the versions of `name`, and messages for the user.

    The stores `uris` are asked, also one that is not in use. When one does not answer, the result is
    incomplete and a message says so. Raises UserError when the store in use is damaged.
    """
    found, notes = HeldOut(), list[str]()
    for uri in uris:
        with own_login():
            known, said = _held_out(name, paths, uri)
        found, notes = found | known, notes + said
    return found, notes


def _held_out(name: str, paths: Paths, uri: str) -> tuple[HeldOut, list[str]]:
    from mlflow.exceptions import MlflowException

    found, silent = HeldOut(), []
    try:
        registry = Registry(name, paths, uri)
        for version in sorted(registry.tags()):
            lineage = registry.lineage(version)
            if "held_out" in lineage:
                found |= HeldOut.from_json(lineage["held_out"])
            else:
                silent.append(version)
    except (MlflowException, OSError, UserError) as error:
        damaged = isinstance(error, UserError) and not isinstance(error, Unavailable)
        if damaged and uri == tracking_uri(paths):
            raise
        said = str(error).partition("\n")[0].removesuffix(".")
        where = database(uri) or without_password(uri)
        return found, [f"the registry {where} does not say who was in a test part before ({said})."]
    if silent and not found:
        numbers = ", ".join(map(str, silent))
        return found, [f"{name} {numbers} does not record its test clips: they may be learnt from now."]
    return found, []


class Registry:
    """One registered model."""

    def __init__(self, name: str, paths: Paths, uri: str | None = None) -> None:
        self.name = name
        self.uri = uri or tracking_uri(paths)
        self.client = connect(paths, self.uri)

    def tags(self) -> dict[int, dict[str, str]]:
        """Tags by version; empty when nothing was ever registered."""
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        return {int(version.version): dict(version.tags) for version in found}

    def champion(self) -> int | None:
        found = self.client.search_registered_models(f"name = '{self.name}'")
        version = found[0].aliases.get(CHAMPION) if found else None
        return None if version is None else int(version)

    def promoted(self) -> list[int]:
        """Versions that were champion and have not been rolled back, in the order of their promotion."""
        kept = {n: t for n, t in self.tags().items() if "promoted_at" in t and "rolled_back_at" not in t}
        return sorted(kept, key=lambda number: (kept[number]["promoted_at"], number))

    def best_version(self) -> int | None:
        """The promoted version with the highest macro-F1, or None."""
        tags = self.tags()
        return max(
            self.promoted(), key=lambda number: float(tags[number].get("macro_f1", "-inf")), default=None
        )

    def find(self, lineage: Mapping[str, Any]) -> int | None:
        """The version with the same exported network (form and weights) and the same split, or None."""
        same = {key: str(lineage[key]) for key in ("form_sha256", "split_hash")}
        return next((n for n, tags in self.tags().items() if same.items() <= tags.items()), None)

    def lineage(self, version: int) -> dict[str, Any]:
        return artifacts.read_artifact(self.uri, f"models:/{self.name}/{version}", "lineage.json")

    def fetch(self, version: int, cache: Path) -> Path:
        """Return the folder of the version's exported network. It is downloaded to `cache` once."""
        source = self.client.get_model_version(self.name, str(version)).source
        folder = cache / hashlib.sha256(f"{self.uri} {source}".encode()).hexdigest()[:16]
        uri = f"models:/{self.name}/{version}"
        return make_once(folder, lambda half: artifacts.download(self.uri, uri, half))

    def metric(self, version: int, name: str) -> float:
        """Metric `name` of the version from the evaluate stage, nan when it is missing."""
        return float(self.client.get_run(self._run(version)).data.metrics.get(name, "nan"))

    def score_of_files(self, version: int, name: str) -> float:
        """The score `name` of whole files, whose clips vote if there are several; nan when it is missing."""
        voted = self.metric(version, f"video_{name}")
        return self.metric(version, name) if math.isnan(voted) else voted

    def record(self, version: int, decision: gate.Decision) -> None:
        """Write what the gate decided to the version, as tags."""
        word = "passed" if decision.passed else "refused"
        self.tag(version, gate=word, gate_reasons="\n".join(decision.reasons))

    def description(self, version: int) -> str:
        """The card of the version, without its tables: see `registry.card`."""
        return str(self.client.get_model_version(self.name, str(version)).description or "")

    def describe(
        self, verdict: Verdict, lineage: Mapping[str, Any], publish: PublishParams, paths: Paths
    ) -> None:
        """Write the verdict and the card to the version, as its description; `lineage` is the version's."""
        text = version_card(verdict, lineage, publish, count_scores(paths, verdict.model), paths)
        self.client.update_model_version(self.name, str(verdict.version), description=text)

    def promote(self, version: int) -> None:
        self.tag(version, promoted_at=utc_now())
        self.make_champion(version)

    def make_champion(self, version: int) -> None:
        """Move the alias to `version`; descriptions, and the tag `champion` of pipelines' runs, follow."""
        before = self.champion()
        self.client.set_registered_model_alias(self.name, CHAMPION, str(version))
        self.tell_champion(before)

    def tell_champion(self, before: int | None = None) -> None:
        """Write into descriptions, and tags of pipelines' runs, who is champion.

        Of the champion, of the one `before`, and of versions that still say it of themselves, because a
        process was killed after it had moved the alias.
        """
        version = self.champion()
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        told = {int(v.version) for v in found if (v.description or "").startswith(CHAMPION_CARD)}
        told |= {number for number in (version, before) if number}
        for number in sorted(told):
            is_not = f"is not champion any more (version {version} is)"
            standing = "is champion" if number == version else is_not
            for run_id in self._runs(number):
                self.tag_run(run_id, number)
            told_before = self.client.get_model_version(self.name, str(number))
            sentence = f"{self.name} version {number} ({told_before.tags.get('model', '')}) {standing}."
            if told_before.description:  # last: while it says champion, it is told again
                card = with_standing(told_before.description, utc_now(), sentence, champion=number == version)
                self.client.update_model_version(self.name, str(number), description=card)

    def tag_run(self, run_id: str, version: int) -> None:
        """Tag the run of a pipeline with its version, the verdict on it and whether it is champion."""
        tags = {
            "version": f"{self.name} {version}",
            "gate": self.tags()[version].get("gate", ""),
            CHAMPION: "yes" if self.champion() == version else "no",
        }
        for key, value in tags.items():
            self.client.set_tag(run_id, key, value)

    def _runs(self, version: int) -> list[str]:
        """The runs of all pipelines that published `version`: several may have made the same network."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        named = f"tags.version = '{self.name} {version}'"
        found = self.client.search_runs([experiment.experiment_id], named, max_results=1000)
        return [run.info.run_id for run in found]

    def _run(self, version: int) -> str:
        return str(self.client.get_model_version(self.name, str(version)).run_id)

    def tag(self, version: int, **tags: str) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version), key, value[:TAG_LENGTH])

    def add(self, run_id: str, challenger: Challenger) -> int:
        """Log the deployed form as a LoggedModel and register it as a new version.

        MLflow gives the LoggedModel the settings and metrics of the run, which is that of the pipeline.
        """
        paths, chosen, lineage = challenger.paths, challenger.model, challenger.lineage
        files = {
            **{file.name: file.read_bytes() for file in sorted(paths.export(chosen).iterdir())},
            "card.json": (paths.final_model(chosen) / "model.json").read_bytes(),
            SCORES: count_scores(paths, chosen).to_json().encode(),
            "lineage.json": json.dumps(lineage, indent=2).encode(),
        }
        if lineage["dirty"]:
            self.client.log_text(run_id, git(paths, "diff", "HEAD", "--", ".") or "", "uncommitted.diff")
        # MLflow's list shows all tags of all versions: only those that are looked for or compared.
        looked_for = ("recipe", "git_commit", "form_sha256", "split_hash", "flow_run_id")
        tags = {"model": chosen, "macro_f1": f"{challenger.scores[f'{chosen}.macro_f1']:.4f}"}
        tags |= {key: str(lineage[key])[:TAG_LENGTH] for key in looked_for if lineage[key]}
        version = artifacts.register_model(self.uri, self.name, run_id, files, tags)
        self.client.update_registered_model(self.name, model_description(self.name, chosen, paths))
        return version


def utc_now() -> str:
    """Current time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
