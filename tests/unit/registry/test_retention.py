"""What may go goes, and nothing that a registered version, a branch or the checkout needs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimstream.catalog.listing import FileStat
from slimstream.cli.parser import main
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.registry import retention
from slimstream.stages.ingest.store import Store
from slimstream.tracking import store
from slimstream.tracking.pipeline import PARENT_TAG
from slimstream.tracking.store import connect, experiment_id
from tests.unit.tracking.test_servers import started

LONG_AGO = time.time() - 90 * 86_400
YESTERDAY = time.time() - 86_400


def git(paths: Paths, *arguments: str, when: float = LONG_AGO) -> str:
    dates = {name: f"{int(when)} +0000" for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE")}
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    answer = subprocess.run(
        ["git", *who, *arguments],
        cwd=paths.root,
        env={**os.environ, **dates},
        check=True,
        capture_output=True,
        text=True,
    )
    return answer.stdout.strip()


def commit(paths: Paths, clip: str, when: float = LONG_AGO) -> str:
    """With a source.lock.json that names `clip`."""
    item = {"key": f"{clip}.mp4", "label": "x", "size": 1, "etag": clip}
    paths.source_lock.write_text(json.dumps({"source": "s3://b", "items": [item], "rejected": []}))
    git(paths, "add", "source.lock.json", when=when)
    git(paths, "commit", "-qm", clip, when=when)
    return git(paths, "rev-parse", "HEAD")


def aged(file: Path, when: float) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_bytes(bytes(1000))
    for place in (file, file.parent):
        os.utime(place, (when, when))
    return file


def run(client: object, when: float) -> str:
    start = int(when * 1000)
    made = client.create_run(experiment_id(client), start_time=start)  # type: ignore[attr-defined]
    return str(made.info.run_id)


OLD, YOUNG = "0" * 16, "1" * 16
RUN = "0f8fad5b-d9cb-469f-a165-70867728950"


class Plant:
    """A project after a year: for every kind something that may go and something that must stay."""

    def __init__(self, root: Path) -> None:
        self.paths = paths = Paths(root)
        git(paths, "init", "-q", "-b", "main")
        commit(paths, "here")
        self.commits = {}
        for branch, when in (("registered", LONG_AGO), ("lost", LONG_AGO), ("young", YESTERDAY)):
            git(paths, "checkout", "-q", "-b", f"runs/{branch}", "main")
            self.commits[branch] = commit(paths, branch, when)
        git(paths, "checkout", "-q", "main")

        self.client = client = connect(paths)
        self.runs = {name: run(client, LONG_AGO) for name in ("publish", "trained", "checkout", "lost")}
        self.runs["young"] = run(client, YESTERDAY)
        for parent in ("trained", "lost"):  # as the candidates of a search are
            self.runs[f"in {parent}"] = run(client, LONG_AGO)
            client.set_tag(self.runs[f"in {parent}"], PARENT_TAG, self.runs[parent])
        lineage = {"mlflow_runs": {"train": self.runs["trained"], "prune": None}}
        client.log_text(self.runs["publish"], json.dumps(lineage), "m/artifacts/lineage.json")
        source = f"{client.get_run(self.runs['publish']).info.artifact_uri}/m"
        client.create_registered_model("m")
        tags = {"git_commit": self.commits["registered"], "form_sha256": "x"}
        client.create_model_version("m", source, self.runs["publish"], tags=tags)
        aged(paths.run("train"), LONG_AGO).write_text(json.dumps({"run_id": self.runs["checkout"]}))

        store = Store(paths.store)
        self.clips = {}
        for name in ("here", "registered", "lost", "young", "recent"):
            stored = store.put(lambda target, name=name: target.write_text(name), ".mp4")
            store.remember("b", f"{name}.mp4", FileStat(1, name), stored)
            self.clips[name] = aged(stored.path, YESTERDAY if name == "recent" else LONG_AGO)
        store.close()

        cache = paths.cache
        self.goes = [
            aged(cache / f"worktrees/{RUN}1/src/x.py", LONG_AGO),
            aged(cache / f"work/original/{OLD}/state.safetensors", LONG_AGO),
            aged(cache / f"work/teachers/large-1/{OLD}/state.safetensors", LONG_AGO),
            aged(cache / f"trunk/{OLD}/00/frame.npy", LONG_AGO),
            aged(cache / f"served/{OLD}/network.onnx", LONG_AGO),
        ]
        self.stays = [
            aged(cache / f"worktrees/{RUN}2/src/x.py", LONG_AGO),
            aged(cache / f"worktrees/{RUN}3/x.py", YESTERDAY),
            aged(cache / f"work/original/{YOUNG}/state.safetensors", YESTERDAY),
            aged(cache / f"work/extract/{OLD}/pack.npy", LONG_AGO),
            aged(cache / f"trunk/{YOUNG}/00/frame.npy", YESTERDAY),
            # SLIMSTREAM_CACHE may name a folder of the user's.
            aged(cache / "worktrees/mine/notes.txt", LONG_AGO),
            aged(cache / "work/thesis/chapter/1.tex", LONG_AGO),
            aged(cache / "trunk/photos/oak.jpg", LONG_AGO),
            aged(cache / "served/menus/monday.txt", LONG_AGO),
            aged(cache / "tables/oak/leg.txt", LONG_AGO),
            aged(cache / "store/24/christmas.mp4", LONG_AGO),
            aged(cache / "store/tmp/draft.txt", LONG_AGO),
        ]
        self.tables = aged(cache / f"tables/{OLD}/metrics.json", LONG_AGO)
        for folder in cache.rglob("*"):  # making what lies in it made it young
            if folder.is_dir() and not {YOUNG, f"{RUN}3"} & {*folder.parts}:
                os.utime(folder, (LONG_AGO, LONG_AGO))

    def branches(self) -> set[str]:
        return set(git(self.paths, "for-each-ref", "--format=%(refname:short)", "refs/heads/runs").split())

    def open_runs(self) -> set[str]:
        found = self.client.search_runs([experiment_id(self.client)])
        names = {id_: name for name, id_ in self.runs.items()}
        return {names[one.info.run_id] for one in found}


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plant = Plant(tmp_path)
    at_work = plant.paths.cache / f"worktrees/{RUN}2/src"
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=at_work)
    yield plant
    process.kill()
    process.wait()


def test_nothing_goes_when_git_does_not_answer(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # "dubious ownership", as for another user
    assert main(["--root", str(plant.paths.root), "gc", "--yes"]) == 2
    assert "git does not say what branches and versions need, so nothing may go" in capsys.readouterr().err
    assert all(file.exists() for file in [*plant.goes, *plant.clips.values()])


def test_what_may_go_goes_and_the_rest_stays(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(plant.paths.root), "gc"]
    assert main([*root, "--list"]) == 0
    said = capsys.readouterr().out
    counted = {line.split()[0]: line.split()[1:3] for line in said.splitlines() if not line.startswith("  ")}
    assert counted.pop("Nothing") == ["was", "deleted;"]
    assert {name: n for name, (n, _) in counted.items()} == dict.fromkeys(
        ("worktrees", "branches", "clips", "trunk", "served"), "1"
    ) | {"runs": "2", "work": "2"}
    assert "runs/lost" in said and str(plant.clips["lost"]) in said
    assert len(plant.branches()) == 3 and len(plant.open_runs()) == 7
    assert all(file.exists() for file in [*plant.goes, *plant.stays, *plant.clips.values(), plant.tables])

    assert main([*root, "--yes"]) == 0
    assert plant.branches() == {"runs/registered", "runs/young"}
    assert plant.open_runs() == {"publish", "trained", "in trained", "checkout", "young"}
    assert {name for name, file in plant.clips.items() if not file.exists()} == {"lost"}
    assert not [file for file in plant.goes if file.exists()]
    assert all(file.exists() for file in [*plant.stays, plant.tables])
    store = Store(plant.paths.store)
    assert store.get("b", "lost.mp4", FileStat(1, "lost"), ".mp4") is None
    assert store.get("b", "here.mp4", FileStat(1, "here"), ".mp4")
    store.close()

    capsys.readouterr()
    assert main(root) == 0 and "Nothing to do" in capsys.readouterr().out
    assert main([*root, "--yes", "--also", "tables"]) == 0 and not plant.tables.exists()


def test_the_newest_branch_stays_however_old(plant: Plant) -> None:
    """What the last run knew of the data says which clips must never be learnt from."""
    git(plant.paths, "branch", "-q", "-D", "runs/young", "runs/registered")
    plant.client.delete_registered_model("m")
    for kind in retention.collect(plant.paths):
        kind.delete()
    assert plant.branches() == {"runs/lost"} and plant.clips["lost"].exists()


def test_a_version_keeps_its_clips_without_its_branch(plant: Plant) -> None:
    git(plant.paths, "branch", "-q", "-D", "runs/registered")
    found = {kind.name: kind for kind in retention.collect(plant.paths)}
    assert found["clips"].items == [str(plant.clips["lost"])]


def test_what_a_link_keeps_elsewhere_frees_nothing(plant: Plant) -> None:
    (plant.paths.root / "raw.mp4").hardlink_to(plant.clips["lost"])
    found = {kind.name: kind for kind in retention.collect(plant.paths)}
    assert found["clips"].bytes == 0 and found["work"].bytes == 2000


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_nothing_goes_when_the_registry_was_lost(plant: Plant, how: str) -> None:
    """It would look like one without versions, and their clips and branches like nobody's."""
    database = plant.paths.root / "mlflow.db"
    database.unlink()
    if how == "empty":
        database.touch()
    with pytest.raises(UserError, match=r"is missing or empty, and .*mlartifacts holds files"):
        retention.collect(plant.paths)


def test_nothing_goes_when_the_registry_does_not_answer(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gc = ["--root", str(plant.paths.root), "gc", "--yes"]
    started(plant.paths.root, 9)  # its servers do not run
    assert main(gc) == 2 and "nothing may go" in capsys.readouterr().err
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "local")  # the server may hold versions all the same
    assert main(gc) == 2 and "nothing may go" in capsys.readouterr().err
    monkeypatch.delenv("SLIMSTREAM_TRACKING")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(gc) == 2 and "nothing may go" in capsys.readouterr().err
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (plant.paths.root / ".services/settings.json").unlink()
    for file in (plant.paths.root / "mlartifacts").rglob("lineage.json"):
        file.unlink()
    with pytest.raises(UserError, match="nothing may go"):
        retention.collect(plant.paths)
    assert "runs/lost" in plant.branches() and all(file.exists() for file in plant.goes)


def test_each_registry_is_asked_with_its_own_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(tmp_path, 5999)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    logins: list[tuple[str, str]] = []

    class Server:
        def __init__(self, uri: str) -> None:
            self.uri = uri

        def get_experiment_by_name(self, name: str) -> None:
            logins.append((self.uri, os.environ["MLFLOW_TRACKING_PASSWORD"]))

    monkeypatch.setattr(store, "open_store", Server)
    here, elsewhere = "http://127.0.0.1:5999", "http://elsewhere:5000"
    retention._runs(Paths(tmp_path), [here, elsewhere, here], set(), LONG_AGO)
    assert logins == [(here, "a=b"), (elsewhere, "of elsewhere"), (here, "a=b")]
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "of elsewhere"
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ
