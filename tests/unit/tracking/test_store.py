"""The store of MLflow: it follows its folder, and what is wrong with it is said as what it is."""

import json
import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from slimstream.cli.parser import main
from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.registry import artifacts
from slimstream.registry.versions import Registry
from slimstream.tracking import run as tracking
from slimstream.tracking.address import tracking_uri
from slimstream.tracking.database import EXPERIMENT, database, sqlite_uri
from slimstream.tracking.store import experiment_id, open_store

CODE = """
import mlflow
from mlflow.pyfunc import PythonModel
class Echo(PythonModel):
    def predict(self, context, model_input: list[str], params=None):
        import pandas
        return pandas.DataFrame({"path": model_input, "label": "fine"})
mlflow.models.set_model(Echo())
"""
NAME = "folder #1 %41 100%? 'ä"
"""All that a URI, a query or a shell would take for something else."""


def register(root: Path) -> None:
    """A version of `tiny` in the store of `root`, with lineage.json and a model that always says fine."""
    import mlflow

    uri = tracking_uri(Paths(root))
    client = open_store(uri)
    run = client.create_run(experiment_id(client))
    work = root / "work"
    work.mkdir()
    (work / "echo.py").write_text(CODE)
    (work / "lineage.json").write_text('{"from": "' + root.name.replace('"', "") + '"}')
    with artifacts._use_store(uri), mlflow.start_run(run_id=run.info.run_id):
        mlflow.pyfunc.log_model(
            name="tiny",
            python_model=str(work / "echo.py"),
            artifacts={"lineage.json": (work / "lineage.json").as_uri()},
            pip_requirements=["mlflow"],
            registered_model_name="tiny",
        )
    client.log_metric(run.info.run_id, "macro_f1", 0.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one version, in a folder of a difficult name; tests copy it, for it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("first") / NAME
        root.mkdir()
        register(root)
    return root


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "SLIMSTREAM_TRACKING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of it, as if it had been made there."""
    copy = tmp_path / "here"
    shutil.copytree(made, copy)
    open_store(tracking_uri(Paths(copy)))
    return copy


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("/data/plant/mlflow.db", "sqlite:////data/plant/mlflow.db"),
        ("/data/a b#c/mlflow.db", "sqlite:////data/a b#c/mlflow.db"),
        ("/data/why?/50%/mlflow.db", "sqlite+pysqlite:///file:/data/why%3F/50%25/mlflow.db?uri=true"),
    ],
)
def test_any_path_has_a_uri(file: str, uri: str) -> None:
    assert sqlite_uri(Path(file)) == uri and database(uri) == Path(file)
    assert database(sqlite_uri(Path(file), "aiosqlite")) == Path(file)
    assert database("http://127.0.0.1:5000") is None and database("postgresql://x/y") is None


def test_a_folder_of_any_name_holds_a_registry(made: Path) -> None:
    registry = Registry("tiny", Paths(made))
    assert database(registry.uri) == made.resolve() / "mlflow.db" and (made / "mlflow.db").is_file()
    assert registry.lineage(1) == {"from": NAME} and registry.metric(1, "macro_f1") == 0.5
    fetched = registry.fetch(1, made / "served")
    assert [file.name for file in fetched.iterdir()] == ["lineage.json"]
    (answers,) = artifacts.score_clips(registry.uri, ["models:/tiny/1"], [made / "clip.mp4"])
    assert list(answers["label"]) == ["fine"]
    assert sorted(path.name for path in made.parent.iterdir()) == [NAME]  # nothing went beside it


def test_a_project_that_moved_finds_its_models(
    made: Path, tmp_path: Path, log_records: list[logging.LogRecord]
) -> None:
    shutil.copytree(made, tmp_path / "before")
    open_store(tracking_uri(Paths(tmp_path / "before")))
    log_records.clear()
    (tmp_path / "before").rename(tmp_path / "after ?")
    registry = Registry("tiny", Paths(tmp_path / "after ?"))
    assert registry.lineage(1) == {"from": NAME}
    (told,) = (record.message for record in log_records if record.name == "slimstream.tracking.database")
    assert f"moved here from {tmp_path / 'before'}" in told and "4 paths" in told
    # A run goes on where the files are.
    run = registry.client.get_model_version("tiny", "1").run_id
    registry.client.log_text(run, "x", "note.txt")
    assert list((tmp_path / "after ?").rglob("note.txt")) and not (tmp_path / "before").exists()
    log_records.clear()
    Registry("tiny", Paths(tmp_path / "after ?"))
    assert not log_records


def test_a_copy_reads_and_writes_its_own_files_and_leaves_the_first_alone(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    before = (made / "mlflow.db").read_bytes()
    for file in (copy / "mlartifacts").rglob("lineage.json"):
        file.write_text('{"from": "the copy"}')
    registry = Registry("tiny", Paths(copy))
    assert registry.lineage(1) == {"from": "the copy"}
    with tracking.stage_run("split", Params(), Paths(copy)) as run:
        run.artifact(made / "work/echo.py")
    assert list(copy.glob(f"mlartifacts/{run.run_id}/artifacts/echo.py"))
    assert (made / "mlflow.db").read_bytes() == before
    assert Registry("tiny", Paths(made)).lineage(1) == {"from": NAME}


def test_the_same_folder_by_another_name_is_no_move(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    before = (root / "mlflow.db").read_bytes()
    open_store(sqlite_uri(tmp_path / "link/mlflow.db"))
    assert (root / "mlflow.db").read_bytes() == before


def test_a_database_without_its_files_is_left_as_it_is_and_says_where_they_were(
    root: Path, tmp_path: Path
) -> None:
    shutil.rmtree(root / "mlartifacts")
    with pytest.raises(
        UserError, match=r"tiny version 1 is registered, but its files are not in file:.*here"
    ):
        Registry("tiny", Paths(root)).lineage(1)
    with pytest.raises(UserError, match="its files are not in"):
        Registry("tiny", Paths(root)).fetch(1, tmp_path / "served")
    assert not list((tmp_path / "served").glob("*"))


def test_places_that_somebody_chose_stay(tmp_path: Path) -> None:
    client = open_store(tracking_uri(Paths(tmp_path)))
    client.create_experiment(EXPERIMENT, artifact_location="s3://plant/mlflow")
    (tmp_path / "mlartifacts").mkdir()
    client = open_store(tracking_uri(Paths(tmp_path)))
    assert client.get_experiment(experiment_id(client)).artifact_location == "s3://plant/mlflow"


def test_a_deleted_experiment_is_named_with_the_way_back(
    root: Path, capsys: pytest.CaptureFixture[str], log_records: list[logging.LogRecord]
) -> None:
    client = open_store(tracking_uri(Paths(root)))
    number = experiment_id(client)
    client.delete_experiment(number)
    with pytest.raises(UserError, match=f"was deleted; `MLFLOW_TRACKING_URI=.* restore -x {number}`") as told:
        experiment_id(client)
    assert not isinstance(told.value, Unavailable)
    # A stage goes on, and says the same.
    with tracking.stage_run("split", Params(), Paths(root)) as run:
        run.log({"a": 1}, 0)
        run._done.set()  # type: ignore[attr-defined]
        tracking.CLOSE_TIMEOUT, patience = 0.0, tracking.CLOSE_TIMEOUT
    tracking.CLOSE_TIMEOUT = patience
    (first, *_) = (record.message for record in log_records if record.name == "slimstream.tracking.run")
    assert "was deleted" in first and "The stage continues" in first
    # What is registered is there all the same, and the command named brings the experiment back.
    assert main(["--root", str(root), "versions", "--name", "tiny"]) == 0
    command = str(told.value).split("`")[1]
    subprocess.run(["bash", "-c", command.replace("mlflow ", f"{sys.executable} -m mlflow ", 1)], check=True)
    assert experiment_id(client) == number


def break_schema(file: Path, revision: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def damage(file: Path) -> None:
    file.write_bytes(b"something else, and long enough to be read as a header: " + bytes(200))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: break_schema(file, "ffffffffffff"), "was written by a newer MLflow than the"),
        (
            lambda file: break_schema(file, "451aebb31d03"),
            "by an older MLflow; copy it, then `mlflow db upgrade",
        ),
        (damage, "is damaged; put a backup there"),
    ],
)
def test_what_is_wrong_with_a_database(
    made: Path, tmp_path: Path, spoil: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "here"
    shutil.copytree(made, root)
    spoil(root / "mlflow.db")
    for command in (["versions", "--name", "tiny"], ["predict", str(root / "mlflow.db"), "--model", "tiny"]):
        assert main(["--root", str(root), *command]) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1 and str(root / "mlflow.db") in told
    assert main(["--root", str(root), "gc"]) == 2 and "nothing may go" in capsys.readouterr().err


def test_a_database_that_another_program_holds_is_worth_another_try(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimstream.tracking.database.LOCKED", 0.1)
    holder = sqlite3.connect(root / "mlflow.db")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable, match=r"mlflow\.db is held by another program"):
        open_store(tracking_uri(Paths(root)))
    holder.close()


class Answer(BaseHTTPRequestHandler):
    """Whatever is asked, the one answer that the server holds."""

    def do_GET(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as found:
        Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def refusal(code: str) -> bytes:
    return json.dumps({"error_code": code, "message": "words of the server"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, b"You are not authenticated.", UserError, "refuses the login; mend MLFLOW_TRACKING_USERNAME"),
        (403, refusal("PERMISSION_DENIED"), UserError, "does not allow that"),
        (403, b"Forbidden", UserError, "does not allow that"),
        (404, b"<html>not here</html>", UserError, "is something else than MLflow"),
        (200, b"<html>a wiki</html>", UserError, "is something else than MLflow"),
        (503, b"down for an hour", Unavailable, "is busy or out of order"),
        (400, refusal("INVALID_PARAMETER_VALUE"), UserError, "words of the server"),
    ],
)
def test_what_a_server_says(
    server: ThreadingHTTPServer, status: int, body: bytes, kind: type[UserError], said: str
) -> None:
    server.answer = status, body  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=said) as told:
        open_store(f"http://admin:secret@127.0.0.1:{server.server_port}")
    assert type(told.value) is kind and "secret" not in str(told.value)


def test_a_server_that_is_away() -> None:
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    with pytest.raises(
        Unavailable,
        match=r"127\.0\.0\.1:9 does not answer; start it.* \(\[Errno 111\] Connection refused\)\.",
    ):
        open_store("http://127.0.0.1:9")
    with pytest.raises(UserError, match="martian") as told:
        open_store("martian://nowhere")
    assert not isinstance(told.value, Unavailable)


def test_a_database_that_is_a_link_to_nothing_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").symlink_to(tmp_path / "gone/mlflow.db")
    with pytest.raises(UserError, match=r"is a link to .*gone/mlflow\.db, which is not there"):
        open_store(sqlite_uri(tmp_path / "mlflow.db"))


@pytest.mark.parametrize("uri", ["127.0.0.1:5000", "runs", "file:///plant/mlruns"])
def test_an_address_that_mlflow_takes_for_a_folder_is_named(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a folder to MLflow, which takes none any more; name a server"):
        open_store(uri)
