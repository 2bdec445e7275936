"""The registry: versions with their lineage, the champion among them, and the way back.

`champion` is the alias that serving follows. Which version had it and when is kept on the versions as tags
(`promoted_at`, `rolled_back_at`), so the history survives and a rollback is one look-up.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from slimstream import deploy, gate, tracking
from slimstream.errors import UserError
from slimstream.learn.metrics import preferred
from slimstream.lineage import seen, trace
from slimstream.params import Params
from slimstream.paths import Paths

CHAMPION = "champion"
TAG = 4900
"""Characters that a tag holds."""


@dataclass(frozen=True)
class Outcome:
    """What became of a publish."""

    name: str
    version: int
    model: str
    """Which of the compressed models it is."""
    promoted: bool
    """Whether it is champion now."""
    changed: bool
    """Whether another version was champion before, or none."""
    reasons: tuple[str, ...]
    run_id: str | None

    def __str__(self) -> str:
        what = f"{self.name} version {self.version} ({self.model})"
        verdict = "is champion" if self.promoted else "was registered but not promoted"
        return "\n  ".join([f"{what} {verdict}:", *self.reasons])


def publish(params: Params, paths: Paths, flow_run_id: str | None = None, promote: bool = True) -> Outcome:
    """Register the compressed model that validation prefers and let the gate decide on `champion`.

    A model that is registered already gets no second version, only a fresh verdict. `flow_run_id` defaults to
    SLIMSTREAM_FLOW_RUN_ID; without `promote` the verdict is recorded and the alias stays where it is.
    Writes runs/publish.json. Raises UserError when there is nothing to publish or no registry to publish to.
    """
    scores = _scores(paths)
    chosen = preferred(scores)
    if chosen is None:
        raise UserError(f"{paths.metrics('evaluate')} scores no compressed model; run `dvc repro` first.")
    if tracking.tracking_off():
        raise UserError("SLIMSTREAM_TRACKING is off, and publishing needs the registry; unset it.")
    flow_run_id = flow_run_id or os.environ.get("SLIMSTREAM_FLOW_RUN_ID")
    lineage = trace(params, paths, chosen, flow_run_id)
    with tracking.stage_run("publish", params, paths) as run:
        if run.run_id is None:
            raise UserError(
                "The MLflow server of MLFLOW_TRACKING_URI does not answer; start it and publish again."
            )
        registry = Registry(params.publish.name, paths)
        version = registry.find(lineage) or registry.add(run.run_id, params, paths, chosen, scores, lineage)
        before = registry.champion()
        if version == before:
            reasons = ["nothing new: this very network on this very split is the champion"]
        elif "rolled_back_at" in registry.tags()[version]:
            reasons = ["it was champion and has been rolled back; train a new one"]
        else:
            verdict = _verdict(registry, version, params, paths, chosen, scores, lineage)
            registry.record(version, verdict)
            reasons = verdict.reasons
            if verdict.passed and promote:
                registry.promote(version)
            elif verdict.passed:
                reasons.append("the gate would admit it, but promotion is switched off")
        now = registry.champion()
        outcome = Outcome(
            params.publish.name, version, chosen, now == version, now != before, tuple(reasons), run.run_id
        )
        if paths.report.exists():
            run.artifact(paths.report)
    paths.run("publish").parent.mkdir(parents=True, exist_ok=True)
    paths.run("publish").write_text(json.dumps(asdict(outcome), indent=2) + "\n")
    return outcome


def promote(name: str, version: int, paths: Paths, force: bool = False) -> str:
    """Make `version` the champion by hand; returns a sentence.

    Raises UserError for a version that is not there, and, without `force`, for one that the gate refused or
    that was rolled back.
    """
    registry = Registry(name, paths)
    tags = registry.tags()
    if version not in tags:
        known = ", ".join(map(str, sorted(tags))) or "none"
        raise UserError(f"{name} has no version {version}; registered: {known}.")
    before = registry.champion()
    if version == before:
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
    """Make the version that was champion before the champion again; returns a sentence.

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
    registry.tag(leads, rolled_back_at=now())
    registry.client.set_registered_model_alias(name, CHAMPION, str(earlier[-1]))
    return f"{name} version {earlier[-1]} is champion again; version {leads} was rolled back."


def names(paths: Paths) -> list[str]:
    """Of all registered models."""
    return sorted(model.name for model in tracking.connect(paths).search_registered_models(max_results=1000))


def versions(name: str, paths: Paths) -> pd.DataFrame:
    """All versions, newest first, with champion, model, score, verdict, dates and why one was refused."""
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


class Registry:
    """One registered model."""

    def __init__(self, name: str, paths: Paths) -> None:
        self.name = name
        self.uri = tracking.tracking_uri(paths)
        self.client = tracking.connect(paths)

    def tags(self) -> dict[int, dict[str, str]]:
        """Tags by version; empty when nothing was ever registered."""
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        return {int(version.version): dict(version.tags) for version in found}

    def champion(self) -> int | None:
        from mlflow.exceptions import MlflowException

        try:
            return int(self.client.get_model_version_by_alias(self.name, CHAMPION).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def promoted(self) -> list[int]:
        """Versions that were champion and have not been rolled back, in the order of their promotion."""
        kept = {n: t for n, t in self.tags().items() if "promoted_at" in t and "rolled_back_at" not in t}
        return sorted(kept, key=lambda number: (kept[number]["promoted_at"], number))

    def best(self) -> int | None:
        """The version with the highest score among those ever promoted."""
        tags = self.tags()
        return max(
            self.promoted(), key=lambda number: float(tags[number].get("macro_f1", "nan")), default=None
        )

    def find(self, lineage: Mapping[str, Any]) -> int | None:
        """The version that holds this very network, trained on this very split."""
        same = {key: str(lineage[key]) for key in ("network_sha256", "split_hash")}
        return next((n for n, tags in self.tags().items() if same.items() <= tags.items()), None)

    def lineage(self, version: int) -> dict[str, Any]:
        return deploy.read_artifact(self.uri, f"models:/{self.name}/{version}", "lineage.json")

    def fetch(self, version: int, cache: Path) -> Path:
        """The folder of its deployed network, copied to `cache` unless it is there."""
        source = self.client.get_model_version(self.name, str(version)).source
        folder = cache / hashlib.sha256(f"{self.uri} {source}".encode()).hexdigest()[:16]
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as half:
                deploy.download(self.uri, f"models:/{self.name}/{version}", Path(half)).replace(folder)
        return folder

    def metric(self, version: int, name: str) -> float:
        """What evaluate measured of it, nan where it did not."""
        run = self.client.get_model_version(self.name, str(version)).run_id
        return float(self.client.get_run(run).data.metrics.get(name, "nan"))

    def record(self, version: int, verdict: gate.Verdict) -> None:
        """Write the verdict on the version: as tags for programs, as a description for people."""
        word = "passed" if verdict.passed else "refused"
        reasons = "\n".join(verdict.reasons)
        self.tag(version, gate=word, gate_reasons=reasons, macro_f1=f"{verdict.score:.4f}")
        text = f"The gate {word} it: {'; '.join(verdict.reasons)}."  # lists show the first line alone
        self.client.update_model_version(self.name, str(version), description=text)

    def promote(self, version: int) -> None:
        self.tag(version, promoted_at=now())
        self.client.set_registered_model_alias(self.name, CHAMPION, str(version))

    def tag(self, version: int, **tags: str) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version), key, value[:TAG])

    def add(
        self,
        run_id: str,
        params: Params,
        paths: Paths,
        chosen: str,
        scores: Mapping[str, float],
        lineage: Mapping[str, Any],
    ) -> int:
        """Log the deployed form as a LoggedModel with its metrics, and register it as a new version."""
        files = {
            **{file.name: file.read_bytes() for file in sorted(paths.export(chosen).iterdir())},
            "card.json": (paths.final_model(chosen) / "model.json").read_bytes(),
            "lineage.json": json.dumps(lineage, indent=2).encode(),
        }
        if lineage["dirty"]:
            self.client.log_text(run_id, tracking.git(paths, "diff", "HEAD") or "", "uncommitted.diff")
        info = deploy.log_model(self.uri, self.name, run_id, files)
        split = tracking.read_json(paths.split_info)
        own = {key.removeprefix(f"{chosen}."): value for key, value in scores.items()}
        for key, value in own.items():  # named alike whatever was chosen, so that versions can be compared
            if "." not in key or key.startswith("original."):
                self.client.log_metric(
                    run_id,
                    key,
                    value,
                    model_id=info.model_id,
                    dataset_name=tracking.dataset_name(params),
                    dataset_digest=tracking.dataset_digest(split),
                )
        version = int(info.registered_model_version)
        short = ("network_sha256", "split_hash", "git_commit", "recipe", "source", "flow_run_id", "model")
        self.tag(version, **{key: str(lineage[key]) for key in short if lineage[key]})
        return version


def _verdict(
    registry: Registry,
    version: int,
    params: Params,
    paths: Paths,
    chosen: str,
    scores: Mapping[str, float],
    lineage: Mapping[str, Any],
) -> gate.Verdict:
    """Ask challenger, champion and the best ever for the same raw test clips and apply the policy."""
    policy = params.publish.gate
    everything = pd.read_parquet(paths.clips)
    split = pd.read_parquet(paths.split)
    test = everything[everything["id"].isin(split[split["part"] == "test"]["id"])]

    def fair(*rivals: int) -> pd.DataFrame:
        known = [seen(lineage), *(seen(registry.lineage(number)) for number in rivals)]
        fresh = test[gate.unseen(test, everything, known)]
        return fresh[["id", "path", "label", "twin"]].merge(split[["id", "group"]], on="id")

    asked, recorded = {"challenger": version}, None
    if (champion := registry.champion()) is not None:
        asked["champion"] = champion
    clips = fair(*asked.values())
    if (best := registry.best()) is not None:
        if len(both := fair(*asked.values(), best)) >= policy.min_clips:
            asked["best"], clips = best, both
        else:  # it has learnt from these clips: what it scored on its own has to do
            recorded = float(registry.tags()[best]["macro_f1"])
    if len(clips) >= policy.min_clips:
        uris = {number: f"models:/{registry.name}/{number}" for number in asked.values()}
        files = [paths.raw / path for path in clips["path"]]
        answers = dict(zip(uris, deploy.score_clips(registry.uri, list(uris.values()), files), strict=True))
        predictions = pd.read_parquet(paths.predictions)
        deploy.check_parity(clips["id"], answers[version], predictions[predictions["model"] == chosen])
        clips = clips.assign(**{who: answers[number]["label"] for who, number in asked.items()})
    else:
        clips = clips.assign(challenger=None)
    candidate = gate.Candidate(
        scores[f"{chosen}.macro_f1"],
        scores["original.macro_f1"],
        scores[f"{chosen}.latency_p95_ms"],
        scores[f"{chosen}.megabytes"],
    )
    classes = tracking.read_json(paths.split_info)["classes"]
    return gate.judge(clips, candidate, policy, classes, recorded)


def _scores(paths: Paths) -> dict[str, float]:
    return {key: float(value) for key, value in tracking.read_json(paths.metrics("evaluate")).items()}


def now() -> str:
    """This moment in UTC, to the millisecond: what tags are dated with."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
