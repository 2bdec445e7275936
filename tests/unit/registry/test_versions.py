"""From a finished pipeline to a champion, on a real MLflow store: the story, the way back, the record."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from slimstream.bundle.make import make_bundle
from slimstream.clips.params import NetworkInput, Reduction
from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.registry import artifacts
from slimstream.registry.params import PublishParams
from slimstream.registry.publish import publish
from slimstream.registry.versions import Registry, held_out, promote, rollback, versions
from slimstream.serving.predict import deployed_model, predict
from slimstream.serving.sealed import CARD, Sealed
from slimstream.stages.ingest.held_out import HeldOut
from slimstream.tracking.address import readable_stores, stores, tracking_uri
from slimstream.tracking.repository import git
from slimstream.tracking.store import connect, experiment_id
from tests.unit.finished_pipeline import EXTRACT, PARAMS, write_clips, write_evaluation
from tests.unit.tracking.test_servers import started

FIRST = {"north": "train", "south": "val", "east": "test"}


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_REGISTRY_URI",
        "SLIMSTREAM_TRACKING",
        "SLIMSTREAM_FLOW_RUN_ID",
    ):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = Paths(tmp_path_factory.mktemp("project"))
    subprocess.run(["git", "init", "-q", paths.root], check=True)
    (paths.root / "params.yaml").write_text("recipe: tiny\n")
    (paths.root / ".gitignore").write_text("*\n!params.yaml\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *who, "add", "params.yaml"], cwd=paths.root, check=True)
    subprocess.run(["git", *who, "commit", "-qm", "start"], cwd=paths.root, check=True)
    (paths.root / "params.yaml").write_text("recipe: tiny # tried something\n")
    (paths.root / "dvc.lock").write_text("stages: {}\n")
    paths.run("train").parent.mkdir()
    paths.run("train").write_text('{"run_id": "abc"}')
    write_clips(paths, FIRST)
    return paths


def in_process(uri: str, model_uris: Sequence[str], files: Sequence[Path]) -> list[pd.DataFrame]:
    """`deploy.score_clips` without a process for every model: each spends seconds on importing MLflow."""
    import mlflow

    with artifacts._use_store(uri):
        return [
            mlflow.pyfunc.load_model(model).predict([str(file) for file in files]) for model in model_uris
        ]


def test_the_story_of_a_registry(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, since its steps build on each other."""
    monkeypatch.setattr(artifacts, "score_clips", in_process)
    # A fair first version is promoted: it misses the faintest leak.
    write_evaluation(project, red=9, bias=-1.8)
    project.report_page.write_text("<h2>Report</h2><!--verdict--><!--/verdict-->")
    first = publish(PARAMS, project, flow_run_id="flow-7")
    assert (first.version, first.promoted, first.model) == (1, True, "distilled"), first
    # The same words stand in the run file, in the report, and on the version.
    assert json.loads(project.run("publish").read_text())["sentences"] == first.sentences
    assert first.standing in project.report.read_text() and "Report" in project.report.read_text()
    assert first.sentences[0] in Registry("tiny", project).client.get_model_version("tiny", "1").description
    with pytest.raises(UserError, match="no earlier champion"):
        rollback("tiny", project)

    # Publishing the same again makes no new version.
    same = publish(PARAMS, project)
    assert same.version == 1 and same.reasons[1:] == first.reasons and "nothing new" in same.reasons[0]

    # A new camera arrives and goes to train; what was held out stays held out. The retrained model is better:
    # promoted, once that is wanted.
    write_clips(project, {**FIRST, "west": "train"})
    write_evaluation(project, red=9)
    quiet = publish(PARAMS, project, promote=False)
    assert (quiet.version, quiet.promoted) == (2, False) and "switched off" in quiet.reasons[-1]
    better = publish(PARAMS, project)
    assert (better.version, better.promoted) == (2, True), better

    # Worse than the champion: registered, refused, and the reasons are on the version.
    write_evaluation(project, red=-9)
    worse = publish(PARAMS, project)
    assert (worse.version, worse.promoted) == (3, False)
    registry = Registry("tiny", project)
    assert registry.champion() == 2
    found = registry.client.get_model_version("tiny", "3")
    assert found.tags["gate"] == "refused" and "champion" in found.tags["gate_reasons"]
    assert all(sentence in found.description for sentence in worse.sentences)
    assert "not champion (version 2 stays)" in project.report.read_text()
    # Its metrics are those of evaluate, whatever the gate said.
    assert found.tags["macro_f1"] == f"{registry.metric(3, 'macro_f1'):.4f}"
    # Versions are compared by their runs, so these hold every setting, not the registry's own alone.
    logged = registry.client.get_run(found.run_id).data.params
    assert (logged["prune.rate"], logged["extract.frames"]) == ("0.5", "2") and logged[
        "publish.name"
    ] == "tiny"

    # A split whose test clips the champion has learnt from leaves no fair clip.
    write_clips(project, {"north": "test", "south": "train", "east": "train", "west": "val"})
    write_evaluation(project, red=12)
    few = publish(PARAMS, project)
    assert few.reasons == ("0 test clips that no compared model has learnt from; 8 are needed",)
    tags, measured = registry.tags()[few.version], registry.metric(few.version, "macro_f1")
    assert tags["macro_f1"] == f"{measured:.4f}" and measured > 0

    # Whoever wants it all the same promotes it by hand, and the verdict says so.
    promote("tiny", few.version, project, force=True)
    assert publish(PARAMS, project).reasons == (
        "it was made champion by hand; the gate had refused it",
        *few.reasons,
    )
    rollback("tiny", project)
    told = {n: registry.client.get_model_version("tiny", str(n)).description for n in (2, few.version)}
    assert "tiny version 2 (distilled) is champion." in told[2].partition("\n")[0]
    assert "is not champion any more (version 2 is)." in told[few.version].partition("\n")[0]

    # A process that is killed after it has moved the alias has told nobody; the next one does.
    registry.client.set_registered_model_alias("tiny", "champion", str(few.version))
    assert promote("tiny", few.version, project) == f"tiny version {few.version} is champion already."
    told = {n: registry.client.get_model_version("tiny", str(n)).description for n in (2, few.version)}
    assert told[2].startswith("Not champion") and told[few.version].startswith("Champion")
    pipelines = registry.client.search_runs(
        [registry.client.get_experiment_by_name("slimstream").experiment_id], "tags.champion = 'yes'"
    )
    assert {run.data.tags["version"] for run in pipelines} == {f"tiny {few.version}"}
    rollback("tiny", project)
    assert "**Learnt from:**" in told[2] and "**Learnt from:**" in told[few.version]

    # The way back; there is no third step, and what was rolled back does not return by itself.
    assert rollback("tiny", project) == "tiny version 1 is champion again; version 2 was rolled back."
    with pytest.raises(UserError, match="no earlier champion"):
        rollback("tiny", project)
    write_clips(project, {**FIRST, "west": "train"})
    write_evaluation(project, red=9)
    later = PARAMS.model_copy(update={"recipe": "other"})  # another pipeline that makes the same network
    again = publish(later, project)
    assert (again.version, again.promoted) == (2, False) and "rolled back" in again.reasons[0]
    assert again.run_id != registry._run(2)
    promote("tiny", 2, project, force=True)
    promote("tiny", 1, project, force=True)
    of_two = [registry.client.get_run(run).data.tags for run in registry._runs(2)]
    assert len(of_two) >= 2 and {tags["champion"] for tags in of_two} == {"no"}
    card = registry.client.get_model_version("tiny", "2").description
    assert "of the recipe tiny" in card  # the one that made it

    table = versions("tiny", project)
    assert list(table["version"]) == [4, 3, 2, 1]
    assert list(table[table["champion"] == "*"]["version"]) == [1]

    # The lineage of version 1.
    lineage = registry.lineage(1)
    head = git(project, "rev-parse", "HEAD")
    assert head and lineage["git_commit"] == head.strip() and lineage["dirty"]
    assert lineage["flow_run_id"] == "flow-7" and lineage["mlflow_runs"] == {"train": "abc"}
    assert lineage["runtime"] == "onnx" and registry.find(lineage) == 1
    assert registry.find({**lineage, "form_sha256": "of another form"}) is None
    assert len(lineage["dvc_lock_sha256"]) == 64 and lineage["group_by"] == ["camera"]
    assert {clip["groups"]["camera"] for clip in lineage["training_clips"]} == {"north", "south"}
    assert len(lineage["training_clips"]) == 16
    # Versions know who was test, so that a lost source.lock.json costs nobody's memory.
    assert lineage["held_out"]["groups"] == [{"camera": "east"}] and len(lineage["held_out"]["sha256"]) == 8
    known, notes = held_out("tiny", project, stores(project))
    assert set(lineage["held_out"]["sha256"]) <= known.sha256 and notes == []
    assert known.has_group({"camera": "east"}, ["camera"])
    assert held_out("another", project, stores(project)) == (HeldOut(), [])
    names = [item.path for item in registry.client.list_artifacts(first.run_id)]
    assert "uncommitted.diff" in names

    # The few metrics to compare by are on each pipeline and its logged model, one point each.
    one, two = (registry.client.get_run(run).data.metrics for run in (first.run_id, quiet.run_id))
    assert one["macro_f1"] < two["macro_f1"] and set(one) == set(two)
    logged = registry.client.search_logged_models([experiment_id(registry.client)])
    assert len(logged) == 4
    assert {"macro_f1", "megabytes", "original_macro_f1"} == set(one)
    assert all({m.key for m in model.metrics} == set(one) for model in logged)
    assert len(registry.client.get_metric_history(first.run_id, "macro_f1")) == 1

    # What MLflow shows: the verdict first, then a card; which pipeline's version is in use.
    card = registry.client.get_model_version("tiny", "3").description
    assert "registered, but not champion" in card.partition("\n")[0] and "Classes: leak, normal" in card
    assert "2 frames of 24 × 16 pixels" in card and "split by camera" in card
    assert "leak, normal" in registry.client.get_registered_model("tiny").description
    runs = {n: registry.client.get_run(registry._run(n)) for n in (1, 2, 3)}
    tags = {number: run.data.tags for number, run in runs.items()}
    assert [tags[n]["champion"] for n in (1, 2, 3)] == ["yes", "no", "no"]
    assert (tags[3]["gate"], tags[3]["version"], tags[3]["model"]) == ("refused", "tiny 3", "distilled")
    assert "tiny version 3 (distilled)" in tags[3]["mlflow.note.content"]
    assert runs[1].info.run_name.startswith("tiny · ") and runs[1].info.status == "FINISHED"


def test_a_promotion_that_was_cut_off_is_still_told(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow dies after the alias has moved: the alert goes out with the next publish, and only then."""
    monkeypatch.setattr(artifacts, "score_clips", in_process)
    write_clips(project, FIRST)
    write_evaluation(project, red=9)
    params = PARAMS.model_copy(update={"publish": PARAMS.publish.model_copy(update={"name": "other"})})
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "describe", _unavailable)
        with pytest.raises(Unavailable):
            publish(params, project)
    assert Registry("other", project).champion() == 1
    verdicts = [publish(params, project) for _ in range(2)]
    assert [(verdict.promoted, verdict.changed) for verdict in verdicts] == [(True, True), (True, False)]


def _unavailable(*_: object) -> None:
    raise Unavailable("MLflow is gone")


def test_what_a_stranger_loads(project: Paths, tmp_path: Path) -> None:
    """models:/tiny@champion in a bare process: equal to evaluate, no torch, no pickle, one bad file alone."""
    if not versions("tiny", project)["champion"].any():
        write_evaluation(project, red=9, bias=-1.8)
        publish(PARAMS, project)
    write_clips(project, FIRST)
    write_evaluation(project, red=9, bias=-1.8)
    test = pd.read_parquet(project.predictions)
    (tmp_path / "empty.mp4").touch()
    files = [
        *(project.ingested / f"{name}.mp4" for name in test["id"]),
        tmp_path / "empty.mp4",
        tmp_path / "no.mp4",
    ]
    uri = tracking_uri(project)
    (answers,) = artifacts.score_clips(uri, ["models:/tiny@champion"], files)
    assert list(answers.columns) == ["path", "label", "p_leak", "p_normal", "error"]
    assert list(answers["error"][-2:]) == ["the file is empty", "the file is missing"]
    assert answers["label"].isna().tolist() == [False] * len(test) + [True, True]
    said, other = answers.head(len(test)), test.assign(p_leak=test["p_leak"] + 2e-4)
    artifacts.check_parity(test["id"], pd.DataFrame(said), test, "onnx")
    with pytest.raises(RuntimeError, match="off the probabilities"):
        artifacts.check_parity(test["id"], said, other, "onnx")
    with pytest.raises(UserError, match="processor"):  # which rounds in its own way
        artifacts.check_parity(test["id"], said, other, "openvino-bf16")
    program = (
        "import sys, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model('models:/tiny@champion')\n"
        "frame = model.predict(pandas.DataFrame({'path': sys.argv[1:]}))\n"
        "assert frame.label.notna().all() and 'torch' not in sys.modules\n"
        "assert '/code' in sys.modules['slimstream'].__file__, sys.modules['slimstream'].__file__\n"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    subprocess.run([sys.executable, "-c", program, str(files[0])], env=environment, check=True, cwd=tmp_path)
    stored = [file.name for file in (project.root / "mlartifacts").rglob("*") if file.is_file()]
    assert not [name for name in stored if name.endswith((".pkl", ".pickle", ".pt", ".pt2", ".pyc"))]


def test_predict_asks_the_champion_and_needs_the_registry_once(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not versions("tiny", project)["champion"].any():
        write_evaluation(project, red=9, bias=-1.8)
        publish(PARAMS, project)
    champion = Registry("tiny", project).champion()
    model = deployed_model("tiny", project)
    assert model.is_relative_to(project.cache) and (model / "lineage.json").exists()
    monkeypatch.setattr(artifacts, "download", lambda *_: pytest.fail("it asks again"))
    assert deployed_model(f"tiny/{champion}", project) == model
    test = pd.read_parquet(project.predictions)
    said = predict([project.ingested / f"{name}.mp4" for name in test["id"]], model, workers=1)
    artifacts.check_parity(test["id"], pd.DataFrame(said), test, "onnx")
    make_bundle(f"tiny/{champion}", project, file := project.root / "tiny.pyz")
    card = Sealed(file).read(CARD).decode()
    description = Registry("tiny", project).description(champion or 0)
    assert card.startswith(f"# tiny {champion}\n\n{description}\n\n## By group\n"), (
        "one card, with its tables"
    )
    assert "**Groups:** right test clips by group" in description and "**Not for:** " in description


def test_a_slim_version_answers_from_its_own_part_of_a_clip(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is registered with its own input; the gate and predict ask it on raw clips."""
    monkeypatch.setattr(artifacts, "score_clips", in_process)
    write_clips(project, FIRST)
    slim = NetworkInput.of(EXTRACT, Reduction(frames=1, size=(16, 16), streams="rgb"))
    costs = {"original__megabytes": 1.0, "original__file_to_answer_p50_ms": 50.0}
    write_evaluation(project, 12, model="slim", input=slim, slim__file_to_answer_p50_ms=10.0, **costs)
    gate = PARAMS.publish.gate.model_copy(update={"min_saving": 0.5, "max_drop": 1.0})
    params = PARAMS.model_copy(update={"publish": PublishParams(name="slim", models=["slim"], gate=gate)})
    first = publish(params, project)
    assert (first.model, first.promoted) == ("slim", True), first
    assert any("0.20 of the original's time" in reason for reason in first.reasons)
    test = pd.read_parquet(project.predictions)
    said = predict(
        [project.ingested / f"{name}.mp4" for name in test["id"]],
        deployed_model("slim/1", project),
        workers=1,
    )
    artifacts.check_parity(test["id"], pd.DataFrame(said), test, "onnx")
    card = artifacts.read_artifact(tracking_uri(project), "models:/slim/1", "card.json")
    assert card["input"]["reduce"] == {"frames": 1, "size": [16, 16], "streams": "rgb"}

    # One that saves nothing is registered, not promoted.
    costs |= {"slim__file_to_answer_p50_ms": 49.0, "slim__megabytes": 1.1}
    write_evaluation(project, 13, model="slim", input=slim, **costs)
    (reason,) = publish(params, project).reasons
    assert (
        "0.98 of the original's time" in reason
        and "1.10 of the original's bytes" in reason
        and "0.50" in reason
    )


def test_publishing_into_a_deleted_experiment_says_how_to_bring_it_back(project: Paths) -> None:
    write_clips(project, FIRST)
    write_evaluation(project, red=9, bias=-1.8)
    client = connect(project)
    number = experiment_id(client)
    client.delete_experiment(number)
    try:
        with pytest.raises(UserError, match="experiments restore"):
            publish(PARAMS, project)
    finally:
        client.restore_experiment(number)


def test_a_model_that_cannot_be_asked_says_why(project: Paths) -> None:
    with pytest.raises(RuntimeError, match="models:/nobody"):
        artifacts.score_clips(tracking_uri(project), ["models:/nobody/1"], [])


def test_nothing_to_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path)
    with pytest.raises(UserError, match=r"evaluate\.json scores no model distilled or pruned or slim"):
        publish(PARAMS, paths)
    paths.metrics("evaluate").parent.mkdir()
    paths.metrics("evaluate").write_text('{"pruned.val_macro_f1": 1.0}')
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "off")
    with pytest.raises(UserError, match="SLIMSTREAM_TRACKING is off"):
        publish(PARAMS, paths)


def test_a_registry_that_cannot_tell_who_was_test_is_said(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "tags", lambda self: {1: {}, 2: {}})
    monkeypatch.setattr(Registry, "lineage", lambda self, version: {"training_clips": []})
    assert held_out("tiny", project, [tracking_uri(project)]) == (
        HeldOut(),
        ["tiny 1, 2 does not record its test clips: they may be learnt from now."],
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    # Of the server, then of the database here.
    known, (note, _) = held_out("tiny", project, stores(project))
    assert not known
    assert note.startswith("the registry http://127.0.0.1:9 does not say who was in a test part before (")


def test_a_damaged_store_stops_the_scan_only_where_it_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(tmp_path)
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db"):
        held_out("tiny", paths, stores(paths))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    known, notes = held_out("tiny", paths, stores(paths))
    assert not known and len(notes) == 2 and f"the registry {tmp_path / 'mlflow.db'} does not say" in notes[1]
    # So it is with the files of `make up`.
    started(tmp_path, 9, secrets="")
    uris, (note,) = readable_stores(paths)
    assert len(uris) == 2 and ".services does not say where the servers are" in note
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(UserError, match=r"\.services"):
        readable_stores(paths)


def test_fresh_files_are_held_against_the_score_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file has several clips, these vote, and a vote is right more often than one clip."""
    logged = {1: {"macro_f1_low": 0.7}, 2: {"macro_f1_low": 0.7, "video_macro_f1_low": 0.8}}
    registry = Registry.__new__(Registry)
    monkeypatch.setattr(registry, "metric", lambda version, name: logged[version].get(name, math.nan))
    assert [registry.score_of_files(version, "macro_f1_low") for version in (1, 2)] == [0.7, 0.8]
