"""`make up` for real, in a temporary project on free ports: two servers, a worker, and what may go wrong."""

import contextlib
import io
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter

from infra.services import automations, postgres, process
from infra.services import mlflow as mlflow_server
from infra.services.__main__ import main
from infra.services.control import SIGNALS
from infra.services.runs import client
from infra.services.servers import client_environment
from infra.services.settings import Home, Settings, check_free, load, load_secrets
from slimstream.core.errors import UserError
from slimstream.watch.events import Event
from slimstream.watch.prefect_events import PrefectEvents
from tests.ports import free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.box  # the servers work for a minute

PROJECT = Path(__file__).parents[2]
FLOW = """
import os
import httpx
from prefect import flow
from flows.announce import announce

@flow
def hello(name: str = "from the worker", fail: bool = False) -> None:
    if fail:
        raise RuntimeError('no "hello" today')
    announce("refused", 'm version 2 is no "better"')
    login = os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
    url = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/experiments/create"
    httpx.post(url, json={"name": name}, auth=login, trust_env=False).raise_for_status()

@flow
def tick() -> None:
    pass

@flow
def retrain() -> None:
    pass
"""
DEPLOYMENTS = """
name: small
deployments:
  - name: now
    entrypoint: hello.py:hello
    work_pool:
      name: slimstream
  - name: weekly
    entrypoint: hello.py:retrain
    work_pool:
      name: slimstream
  - name: minutely
    entrypoint: hello.py:tick
    schedules:
      - cron: "* * * * *"
        timezone: Europe/Berlin
    work_pool:
      name: slimstream
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the user postgres may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[tuple[Home, str]]:
    """The servers on SQLite, which is everywhere, and what `up` said."""
    (folder / "hello.py").write_text(FLOW)
    (folder / "prefect.yaml").write_text(DEPLOYMENTS)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setenv("SLIMSTREAM_DATABASE", "sqlite")
        patch.setenv("PYTHONPATH", f"{PROJECT}{os.pathsep}{PROJECT / 'src'}")  # where the flow finds ours
        for name in ("PREFECT", "MLFLOW"):
            patch.setenv(f"SLIMSTREAM_{name}_PORT", str(free_port()))
        try:
            assert main(["up"], folder) == 0
        except BaseException:
            main(["down"], folder)
            raise
    try:
        yield Home(folder), said.getvalue()
    finally:
        main(["down"], folder)


@pytest.fixture
def home(up: tuple[Home, str]) -> Home:
    return up[0]


class Receiver(ThreadingHTTPServer):
    """Somebody's chat: keeps the texts that are posted to it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        super().__init__(("127.0.0.1", 0), Post)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"

    def told(self, count: int) -> list[str]:
        deadline = time.monotonic() + 60
        while len(self.texts) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.texts


class Post(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.texts.append(body["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def env(home: Home) -> dict[str, str]:
    return client_environment(home, load(home), load_secrets(home))


def mlflow(home: Home, path: str, login: tuple[str, str] | None = None, **headers: str) -> int:
    url = f"{env(home)['MLFLOW_TRACKING_URI']}{path}"
    return httpx.get(url, auth=login, headers=headers, trust_env=False).status_code


def experiment(home: Home, name: str) -> int:
    login = env(home)["MLFLOW_TRACKING_USERNAME"], env(home)["MLFLOW_TRACKING_PASSWORD"]
    return mlflow(home, f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}", login)


def prefect(home: Home, method: str, *arguments: Any) -> Any:
    with client(env(home)) as found:
        return getattr(found, method)(*arguments)


def leaders(home: Home) -> dict[str, int | None]:
    found = {name: process.leader(home.folder, name) for name in SIGNALS}
    return {name: leader and leader.pid for name, leader in found.items()}


def passwords(home: Home) -> list[str]:
    return [value.rpartition(":")[2] for value in load_secrets(home).values() if value != "admin"]


def test_all_are_well_and_secrets_stay_secret(
    up: tuple[Home, str], capsys: pytest.CaptureFixture[str]
) -> None:
    home, said = up
    assert main(["status"], home.root) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1] for line in shown.splitlines()}
    assert rows == dict.fromkeys(["prefect", "mlflow", "worker"], "healthy") | {
        "database": "sqlite",
        "secrets": "user",
        "logs": str(home.logs),
    }
    assert str(home.secrets) in shown and home.secrets.stat().st_mode & 0o777 == 0o600
    assert len(passwords(home)) == 4 and not [word for word in passwords(home) if word in said + shown]


def test_without_the_password_there_is_no_way_in(home: Home) -> None:
    known = env(home)
    count = f"{known['PREFECT_API_URL']}/flows/count"
    right = tuple(known["PREFECT_API_AUTH_STRING"].split(":"))
    answers = [httpx.post(count, auth=who, trust_env=False) for who in (None, ("admin", "guess"), right)]
    assert [answer.status_code for answer in answers] == [401, 401, 200]
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    login = known["MLFLOW_TRACKING_USERNAME"], known["MLFLOW_TRACKING_PASSWORD"]
    assert [mlflow(home, search, who) for who in (None, ("admin", "guess"), login)] == [401, 401, 200]
    assert mlflow(home, search, login, Host="plant.example") == 403
    url = f"{known['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/create"
    foreign = {"Origin": "http://plant.example"}
    answer = httpx.post(url, json={"name": "x"}, auth=login, headers=foreign, trust_env=False)
    assert answer.status_code == 403


@pytest.fixture(scope="module")
def ended(up: tuple[Home, str], receiver: Receiver) -> dict[str, Any]:
    """A flow run that works and one that fails, run side by side by the worker, with a webhook set."""
    home = up[0]
    with home.secrets.open("a") as secrets:
        print(f"SLIMSTREAM_WEBHOOK={receiver.url}", file=secrets)
    assert main(["up"], home.root) == 0
    deployment = prefect(home, "read_deployment_by_name", "hello/now")
    runs = {}
    with client(env(home)) as found:
        for name, parameters in (("good", {}), ("bad", {"fail": True})):
            runs[name] = found.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        for _ in range(600):
            runs = {name: found.read_flow_run(run.id) for name, run in runs.items()}
            if all(run.state.is_final() for run in runs.values()):
                break
            time.sleep(0.2)
    return runs


def test_the_worker_runs_a_deployment_that_reaches_mlflow(home: Home, ended: dict[str, Any]) -> None:
    assert ended["good"].state.is_completed(), home.log("worker").read_text()
    assert experiment(home, "from the worker") == 200
    logs = "".join(file.read_text() for file in home.logs.iterdir())
    kept = (home.folder / "prefect.db").read_bytes() + (home.folder / "prefect.db-wal").read_bytes()
    assert not [word for word in passwords(home) if word in logs or word.encode() in kept]
    for name in (automations.SILENT, automations.NEVER_BEGAN):
        (automation,) = prefect(home, "read_automations_by_name", name)
        assert automation.enabled


def test_failures_and_news_of_the_champion_reach_a_webhook(
    home: Home, ended: dict[str, Any], receiver: Receiver
) -> None:
    failed = ended["bad"]
    assert failed.state.is_failed()
    texts = receiver.told(2)
    assert len(texts) == 2, texts
    failure, news = sorted(texts, key=len, reverse=True)
    assert failure.startswith(f"hello {failed.name} Failed: ") and 'RuntimeError: no "hello" today' in failure
    assert failure.endswith(f"/runs/flow-run/{failed.id}")
    assert news == 'm version 2 is no "better"'
    home.secrets.write_text(home.secrets.read_text().replace("SLIMSTREAM_WEBHOOK=", "# "))
    assert main(["up"], home.root) == 0
    assert not prefect(home, "read_automations_by_name", automations.ALERTS[0])


def test_cameras_that_drift_ask_for_a_retraining(home: Home) -> None:
    deployment = prefect(home, "read_deployment_by_name", automations.RETRAINING)
    begun = FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment.id]}})
    sink = PrefectEvents(env(home))
    now = datetime.now(UTC)
    kinds = ["covered"] * automations.ENOUGH + ["drift"] * (automations.ENOUGH - 1)
    for minutes, kind in enumerate(kinds):
        sink.send(Event("gate", kind, (now - timedelta(minutes=10 - minutes)).isoformat()))
    time.sleep(3)
    with client(env(home)) as found:
        assert not found.read_flow_runs(flow_run_filter=begun)
        sink.send(Event("roof", "moved", now.isoformat(), reason="alike 0.10 instead of 0.90"))
        sink.close()
        for _ in range(300):
            if runs := found.read_flow_runs(flow_run_filter=begun):
                break
            time.sleep(0.2)
    assert len(runs) == 1


def test_up_starts_what_is_missing_and_nothing_else(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = leaders(home)
    deployed = prefect(home, "read_deployment_by_name", "hello/now").updated
    assert main(["up"], home.root) == 0
    assert leaders(home) == before and "Starting" not in capsys.readouterr().out
    # Its first process dies without a word, what that started keeps the port.
    first = psutil.Process(before["mlflow"])
    first.kill()
    first.wait(10)
    assert main(["status"], home.root) == 1
    assert main(["up"], home.root) == 0
    after = leaders(home)
    assert {name for name in before if before[name] != after[name]} == {"mlflow"}
    assert experiment(home, "from the worker") == 200
    assert prefect(home, "read_deployment_by_name", "hello/now").updated == deployed


def test_other_ports_want_the_servers_down(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value, answer in (
        ("SLIMSTREAM_MLFLOW_PORT", "5999", "`make down` first"),
        ("SLIMSTREAM_MLFLOW_PORT", "http", "must be a port"),
        ("SLIMSTREAM_ARTIFACTS", "s3://plant/mlflow", "`make down` first"),
        ("SLIMSTREAM_ARTIFACTS", "s3://key:word@plant", "may be s3://bucket/prefix and nothing else"),
        ("SLIMSTREAM_ARTIFACTS", "/data", "may be s3://bucket/prefix and nothing else"),
        ("SLIMSTREAM_DATABASE", "postgres", "data are in sqlite"),
        ("SLIMSTREAM_DATABASE", "mysql", "may be postgres or sqlite"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert main(["up"], home.root) == 2
        assert answer in capsys.readouterr().err
    with pytest.raises(UserError, match=r"meant for the MLflow server.*SLIMSTREAM_MLFLOW_PORT"):
        check_free(load(home).mlflow_port, "the MLflow server", "SLIMSTREAM_MLFLOW_PORT")


def test_a_bucket_that_does_not_let_us_in_is_told_at_the_start(s3: "S3Client", tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    secrets, good = load_secrets(home), Settings(database="sqlite", artifacts="s3://plant/mlflow")
    mlflow_server.prepare(home, good, secrets)
    with pytest.raises(UserError, match=r"cannot keep its files in s3://nowhere at .* no such bucket"):
        mlflow_server.prepare(home, replace(good, artifacts="s3://nowhere"), secrets)
    wrong = secrets | {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}  # the file goes before the environment
    with pytest.raises(UserError, match="the secret key is wrong") as caught:
        mlflow_server.prepare(home, good, wrong)
    assert "wrong-secret" not in str(caught.value)
    away = secrets | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    mlflow_server.prepare(home, good, away)  # it may come back


def test_postgres_keeps_its_word_through_kill_and_new_password(folder: Path) -> None:
    home = Home(folder / "postgres")
    home.make()
    home.root.chmod(0o711)
    if why := postgres.missing(home):
        pytest.skip(why)
    import psycopg2

    settings = Settings(postgres_port=free_port(), database="postgres")

    def start(password: str) -> None:
        postgres.prepare(home, password)
        command = postgres.command(home, settings)
        process.start("postgres", command, os.environ, home.root, home.folder, postgres.user())
        for _ in range(300):
            if not (wrong := postgres.healthy(settings, password)):
                return
            time.sleep(0.1)
        pytest.fail(f"{wrong}\n{home.log('postgres').read_text()}")

    def ask(statement: str, password: str) -> list[Any]:
        with contextlib.closing(
            psycopg2.connect(postgres.url(settings, password, "mlflow"), connect_timeout=5)
        ) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    try:
        start("it's one")
        ask("CREATE TABLE kept AS SELECT 7 AS it", "it's one")
        leader = process.leader(home.folder, "postgres")
        assert leader is not None
        leader.kill()
        process.stop(home.folder, "postgres", signal.SIGINT)
        start("two")
        assert ask("SELECT it FROM kept", "two") == [(7,)]
        assert "password authentication failed" in postgres.healthy(settings, "it's one")
    finally:
        process.stop(home.folder, "postgres", signal.SIGINT)
    assert not process.family(home.folder, "postgres")
    answer = subprocess.run(["pgrep", "-f", str(postgres.data(home))], capture_output=True, text=True)
    assert not answer.stdout


def test_a_schedule_fires_and_its_run_completes(home: Home) -> None:
    deployment = prefect(home, "read_deployment_by_name", "tick/minutely")
    ours = FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment.id]}})
    deadline = time.monotonic() + 150
    states: set[str] = set()
    while not {"Scheduled", "Completed"} <= states and time.monotonic() < deadline:
        with client(env(home)) as found:
            runs = found.read_flow_runs(flow_run_filter=ours)
        assert all(run.auto_scheduled for run in runs)
        states |= {run.state_name for run in runs}
        time.sleep(1)
    assert {"Scheduled", "Completed"} <= states, states


def test_down_leaves_no_process(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    members = [member for name in SIGNALS for member in process.family(home.folder, name)]
    assert len(members) >= 4  # MLflow is two
    assert main(["down"], home.root) == 0
    assert not [member for member in members if member.is_running() and member.status() != "zombie"]
    assert not [member for name in SIGNALS for member in process.family(home.folder, name)]
    for port in (load(home).prefect_port, load(home).mlflow_port):
        check_free(port, "nobody", "")
    assert main(["down"], home.root) == 0 and main(["status"], home.root) == 1
