"""A whole box in a folder: a clone of the project, its clips on S3, all servers."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import httpx
import psutil

from infra.services import process, runs
from infra.services.servers import client_environment
from infra.services.settings import Home, load, load_secrets
from slimstream.pipeline.params import load_params
from tests import seaweedfs
from tests.ports import free_ports

PROJECT = Path(__file__).parents[2]
RECIPE = Path(__file__).with_name("plant.yaml")
RETRAINING = "retrain/weekly"
KINDS = ("stage", "flow", "worker", "worker and flow", "prefect", "mlflow", "postgres", "s3")
PATIENCE = 1200
"""Seconds a run may take to its end."""


@dataclass
class Box:
    """What stands in `folder` while `box` is open."""

    folder: Path
    s3: ExitStack
    """Closing it kills S3 (-9)."""
    ports: list[int]
    environ: dict[str, str]
    """For `make up`: ports, S3."""
    env: dict[str, str] = field(default_factory=dict)
    """For clients of the servers."""

    @property
    def home(self) -> Home:
        return Home(self.folder / "project")

    def services(self, command: str) -> str:
        """What `make up` and `make down` do; returns what it says."""
        answer = subprocess.run(
            [sys.executable, "-m", "infra.services", command],
            cwd=self.home.root,
            env=self.environ,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        if command == "up":
            self.env = client_environment(self.home, load(self.home), load_secrets(self.home))
        return answer.stdout

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Somebody starts again what dies."""
        with (self.folder / "keeper.log").open("w") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "infra.services", "keep"],
                cwd=self.home.root,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            keeper.terminate()
            keeper.wait(180)

    def commit(self, message: str) -> None:
        """Scheduled runs see what is committed."""
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(["git", *who, "add", "-A"], cwd=self.home.root, check=True)
        subprocess.run(["git", *who, "commit", "--quiet", "-m", message], cwd=self.home.root, check=True)

    def ask(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """Ask the Prefect server, for as long as it is away."""
        deadline = time.monotonic() + 180
        while True:
            try:
                with runs.client(self.env) as prefect:
                    return getattr(prefect, method)(*arguments, **keywords)
            except (httpx.HTTPError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def request(self, deployment: str = RETRAINING, **parameters: Any) -> UUID:
        """Ask for a run, of a retraining with the plant's recipe unless told otherwise; returns its id."""
        found = self.ask("read_deployment_by_name", deployment)
        if deployment == RETRAINING:
            parameters = {"isolated": True, "recipe": "plant", **parameters}
        run: UUID = self.ask("create_flow_run_from_deployment", found.id, parameters=parameters).id
        return run

    def state(self, run: UUID) -> Any:
        return self.ask("read_flow_run", run).state

    def until(self, run: UUID, *names: str) -> Any:
        """Wait until the run is in one of these states, or at its end; returns the state."""
        deadline = time.monotonic() + PATIENCE
        while not ((state := self.state(run)).is_final() or state.name in names):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{run} is still {state.name}")
            time.sleep(2)  # each question is a new client, and work for the server
        return state

    def slots(self) -> int:
        """How many runs hold the deployment's slot."""
        limit = self.ask("read_deployment_by_name", RETRAINING).global_concurrency_limit
        return int(limit.active_slots)

    def processes(self, run: UUID) -> list[psutil.Process]:
        """All that lives and works for the run."""
        return [found for found in psutil.process_iter() if _works_for(found, str(run))]

    def kill(self, kind: str, run: UUID) -> str:
        """SIGKILL to the first process of `kind`; returns what was killed, "" when it was not there."""
        if kind == "s3":
            self.s3.close()
            time.sleep(10)
            self.s3.enter_context(seaweedfs.serve(self.folder / "s3", self.ports))
            return kind
        worker = process.leader(self.home.folder, "worker")
        flow = [found for found in (worker.children() if worker else []) if "prefect" in _line(found)]
        stage = [found for found in self.processes(run) if " -m slimstream " in _line(found)]
        victims = {
            "stage": stage[:1],
            "flow": flow,
            "worker": [worker] if worker else [],
            "worker and flow": [*([worker] if worker else []), *flow],
        }.get(kind)
        if victims is None:
            leader = process.leader(self.home.folder, kind)
            victims = [leader] if leader else []
        lines = [_line(victim) for victim in victims]
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
        return (" ".join(lines[0].split()[-2:]) if kind == "stage" else kind) if lines else ""

    def registry(self) -> list[dict[str, str]]:
        """The tags of every registered version of the plant, oldest first, with its aliases."""
        url = self.env["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/"
        login = self.env["MLFLOW_TRACKING_USERNAME"], self.env["MLFLOW_TRACKING_PASSWORD"]

        def get(what: str, **asked: str) -> dict[str, Any]:
            answer = httpx.get(url + what, params=asked, auth=login, trust_env=False, timeout=30)
            return dict(answer.raise_for_status().json())

        found = get("model-versions/search", filter="name='plant'").get("model_versions", [])
        named = get("registered-models/get", name="plant")["registered_model"] if found else {}
        champions = [alias["version"] for alias in named.get("aliases", []) if alias["alias"] == "champion"]
        return [
            {tag["key"]: tag["value"] for tag in version["tags"]}
            | {"champion": "*" if version["version"] in champions else ""}
            for version in sorted(found, key=lambda version: int(version["version"]))
        ]

    def networks(self) -> list[str]:
        """The sha256 of the deployed form of every version."""
        return [tags["form_sha256"] for tags in self.registry()]

    def clips(self) -> tuple[int, int]:
        """Clips in the store, and how many of them are not what their name says."""
        store = self.home.root / ".slimstream" / "store"
        files = [file for file in store.glob("??/*") if file.is_file()]
        wrong = [f for f in files if hashlib.sha256(f.read_bytes()).hexdigest() != f.stem]
        return len(files), len(wrong)


@contextmanager
def box(folder: Path) -> Iterator[Box]:
    """Make it in the empty `folder`, which the user postgres must be able to enter; nothing but S3 runs yet.

    Ends whatever runs when it is left.
    """
    project, bucket = folder / "project", folder / "s3"
    bucket.mkdir(parents=True)
    folder.chmod(0o711)
    subprocess.run(["git", "clone", "--quiet", PROJECT, project], check=True)
    prefect, mlflow, postgres = free_ports(3)
    s3_ports = free_ports(len(seaweedfs.PORTS))
    with ExitStack() as s3:
        environ = {
            **os.environ,
            **seaweedfs.environment(s3.enter_context(seaweedfs.serve(bucket, s3_ports))),
            "SLIMSTREAM_PREFECT_PORT": str(prefect),
            "SLIMSTREAM_MLFLOW_PORT": str(mlflow),
            "SLIMSTREAM_POSTGRES_PORT": str(postgres),
            "PYTHONPATH": str(project / "src"),
        }
        made = Box(folder, s3, s3_ports, environ)
        upload(environ, folder)
        recipe = RECIPE.read_text().replace("source: rig", "source: s3://plant/clips", 1)
        (project / "recipes" / "plant.yaml").write_text(recipe)
        made.commit("The plant")
        try:
            yield made
        finally:
            made.services("down")


def upload(storage: dict[str, str], folder: Path) -> None:
    """Render the rig's clips of the recipe into s3://plant/clips, by way of `folder`."""
    from slimstream.stages.ingest.plants import rig

    params = load_params(RECIPE).ingest.rig
    client = boto3.client(
        "s3",
        endpoint_url=storage["AWS_ENDPOINT_URL"],
        aws_access_key_id=storage["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=storage["AWS_SECRET_ACCESS_KEY"],
        region_name=storage["AWS_DEFAULT_REGION"],
    )
    client.create_bucket(Bucket="plant")
    rows = ["path,label,recording"]
    for clip in rig.rig_clips(params.recordings, params.clips, params.seconds, params.fps, params.seed):
        target = folder / "clip.mp4"
        clip.write(target)
        client.put_object(Bucket="plant", Key=f"clips/{clip.key}", Body=target.read_bytes())
        target.unlink()
        rows.append(f"{clip.key},{clip.state},{clip.recording}")
    client.put_object(Bucket="plant", Key="clips/metadata.csv", Body="\n".join(rows).encode())


def _works_for(found: psutil.Process, run: str) -> bool:
    try:
        return found.environ().get("SLIMSTREAM_FLOW_RUN_ID") == run and found.status() != "zombie"
    except (psutil.Error, OSError):
        return False


def _line(found: psutil.Process) -> str:
    try:
        return " " + " ".join(found.cmdline()) + " "
    except psutil.Error:
        return ""
