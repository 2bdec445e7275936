"""One S3 endpoint for clips, data and models: all that a deployed run made comes back from there."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prefect.client.schemas.filters import FlowRunFilter

from flows import dvc_runner, retrain, retries
from flows.worktree import worktree
from infra.services import process
from infra.services.servers import client_environment, services
from infra.services.settings import Home, Settings, load_secrets
from slimstream.core.paths import Paths
from slimstream.registry.versions import Registry
from tests.flows.conftest import PROJECT, api
from tests.flows.mini_project import commit, git, repository
from tests.ports import free_port
from tests.seaweedfs import SECRET
from tests.unit import finished_pipeline

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.box

CAMERAS = {"north": "test", "south": "train"}
GRAPH = """
stages:
  ingest:
    cmd: python -m slimstream ingest
    params: [ingest]
    deps: [source.lock.json]
    outs: [data/ingested, data/manifest.parquet, runs/ingest.json]
    metrics: [metrics/ingest.json]
  evaluate:
    cmd: python src/evaluate.py
    deps: [data/ingested, data/manifest.parquet, src/evaluate.py]
    outs:
      [data/clips.parquet, data/split.parquet, data/split.json, data/predictions.parquet,
       models/final, exports]
    metrics: [metrics/evaluate.json]
"""
JUDGE = f"""
import finished_pipeline
from slimstream.catalog.manifest import read_manifest
from slimstream.core.paths import Paths
paths = Paths()
table = read_manifest(paths.manifest)[["id", "path", "label", "sha256", "camera"]]
finished_pipeline.write_split(paths, table, {CAMERAS})
finished_pipeline.write_evaluation(paths, red=9)
"""
CONFIG = """
[core]
    analytics = false
    remote = store
['remote "store"']
    url = s3://plant/dvc
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The real package in a repository with a short graph; the network is made, not trained."""
    root = tmp_path / "project"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "src/slimstream", root / "src/slimstream", ignore=without)
    shutil.copy(Path(finished_pipeline.__file__), root / "src/finished_pipeline.py")
    settings = finished_pipeline.PARAMS.model_dump(mode="json", by_alias=True)
    settings["ingest"]["source"] = "s3://plant/clips"
    files = {
        "src/evaluate.py": JUDGE,
        "dvc.yaml": GRAPH,
        "params.yaml": json.dumps(settings),
        ".dvc/config": CONFIG,
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".gitignore": (PROJECT / ".gitignore").read_text(),
        ".dvcignore": "__pycache__\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "t")
    git(root, "config", "user.email", "t@localhost")
    commit(root)
    return root


@pytest.fixture
def bucket(s3: "S3Client", tmp_path: Path) -> "S3Client":
    """plant/clips: four clips a camera and class, and a metadata.csv."""
    lines = ["path,label,camera"]
    for camera in CAMERAS:
        for label in finished_pipeline.CLASSES:
            for i in range(4):
                file = tmp_path / "clips" / f"{camera}-{label}-{i}.mp4"
                finished_pipeline.render(file, label, strength=(i + 1) / 4)
                s3.upload_file(str(file), "plant", f"clips/{file.name}")
                lines.append(f"{file.name},{label},{camera}")
    s3.put_object(Bucket="plant", Key="clips/metadata.csv", Body="\n".join(lines).encode())
    return s3


@pytest.fixture
def mlflow(bucket: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The MLflow server that `make up` starts, with its files on S3; the environment finds it."""
    home = Home(tmp_path / "servers")
    home.make()
    settings = Settings(mlflow_port=free_port(), database="sqlite", artifacts="s3://plant/mlflow")
    secrets = load_secrets(home)
    (server,) = (s for s in services(home, settings, secrets) if s.name == "mlflow")
    for name, value in client_environment(home, settings, secrets).items():
        if name.startswith("MLFLOW_"):
            monkeypatch.setenv(name, value)
    try:
        server.prepare()
        process.start("mlflow", server.command, server.env, home.root, home.folder)
        for _ in range(600):
            if not (wrong := server.healthy()):
                break
            time.sleep(0.2)
        assert not wrong, home.log("mlflow").read_text()
        yield home
    finally:
        process.stop(home.folder, "mlflow")


def ask(root: Path, *arguments: str) -> str:
    """What `dvc` says in `root`, as a person who has nothing but it and git."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "DVC_NO_ANALYTICS": "1"}
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def states(run: str) -> dict[str, str]:
    wanted = FlowRunFilter.model_validate({"id": {"any_": [run]}})
    return {task.name: task.state_name for task in api("read_task_runs", flow_run_filter=wanted)}


def branches(root: Path) -> list[str]:
    wanted = ["--sort=-committerdate", "--format=%(refname:short)", "refs/heads/runs"]
    return git(root, "for-each-ref", *wanted).split()


def test_a_version_is_made_again_from_git_and_remote_alone(
    server: dict[str, str],
    mlflow: Home,
    bucket: "S3Client",
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrain, "ROOT", project)
    retrain.retrain(isolated=True)
    (branch,) = branches(project)
    done = ["scan", "ingest", "evaluate", "publish", "push"]
    assert states(branch.removeprefix("runs/")) == dict.fromkeys(done, "Completed")
    assert not git(project, "status", "--porcelain")

    # The registry names the commit, the bucket has the rest; this box forgets what it had.
    registry = Registry("tiny", Paths(project))
    tags = registry.tags()[1]
    assert registry.champion() == 1 and tags["git_commit"] == git(project, "rev-parse", branch)
    assert not (mlflow.folder / "mlartifacts").exists()
    for folder in (".dvc/cache", ".slimstream"):
        shutil.rmtree(project / folder)

    again = tmp_path / "elsewhere"
    git(tmp_path, "clone", "-q", str(project), str(again))
    git(again, "checkout", "-q", tags["git_commit"])
    ask(again, "pull")
    assert ask(again, "status") == "Data and pipelines are up to date.\n"
    assert "Running stage" not in ask(again, "repro")
    network = (again / "exports/distilled/network.onnx").read_bytes()
    assert hashlib.sha256(network).hexdigest() == registry.lineage(1)["network_sha256"]
    assert registered(registry.uri, tmp_path) == network
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="plant")["Contents"]]
    assert {key.split("/")[0] for key in keys} == {"clips", "dvc", "mlflow"}

    # The next run on this box knows what was held out.
    with worktree(project, "next") as (folder, _):
        assert (folder / "data/split.parquet").read_bytes() == (again / "data/split.parquet").read_bytes()

    said = mlflow.log("mlflow").read_text() + git(project, "log", "-p", "--all", "--", ".", ":!src")
    said += "".join(log.message for log in api("read_logs"))
    assert SECRET not in said


def registered(uri: str, folder: Path) -> bytes:
    """The network of the champion as a client of the registry gets it: without keys for the bucket."""
    script = "import sys, mlflow; mlflow.artifacts.download_artifacts(sys.argv[1], dst_path=sys.argv[2])"
    blind = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    subprocess.run(
        [sys.executable, "-c", script, "models:/tiny@champion", str(folder / "got")],
        env={**blind, "MLFLOW_TRACKING_URI": uri},
        check=True,
        capture_output=True,
    )
    return next((folder / "got").rglob("network.onnx")).read_bytes()


def test_a_push_that_fails_is_seen_and_loses_nothing(
    server: dict[str, str], s3: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "project")
    (root / ".dvc/config").write_text(CONFIG)
    commit(root)
    ask(root, *["remote", "modify", "--local", "store", "access_key_id", "test-key"])
    ask(root, *["remote", "modify", "--local", "store", "secret_access_key", "wrong-secret"])
    monkeypatch.setattr(retrain, "ROOT", root)
    monkeypatch.setattr(retries, "NETWORKED", frozenset())  # do not try again
    with pytest.raises(
        dvc_runner.StageFailed, match=r"dvc push ended .*Forbidden.*`dvc push --all-branches`"
    ) as error:
        retrain.retrain(isolated=True)
    assert "wrong-secret" not in str(error.value)
    (branch,) = branches(root)
    found = states(branch.removeprefix("runs/"))
    assert (found["publish"], found["push"]) == ("Completed", "Failed")
    assert "dvc.lock" in git(root, "diff", "--name-only", "main", branch)
    assert "Contents" not in s3.list_objects_v2(Bucket="plant")
    (root / ".dvc/config.local").unlink()
    ask(root, "push", "--all-branches")
    assert s3.list_objects_v2(Bucket="plant")["KeyCount"] == 1  # all outs have the same bytes
