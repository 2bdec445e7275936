"""From doubt to a new version: cameras show a state that nobody knew, a person names it, and it is learnt.

Nothing is a stub: cameras send JPEG over HTTP, `watch` is a process of its own, a person labels in Chromium,
Prefect's worker runs the daily look and the retraining, and MLflow's registry has the versions.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.flows.browser import CHROMIUM, QUIET
from tests.flows.conftest import PROJECT, api
from tests.flows.mini_project import commit, git
from tests.flows.vessels import FPS, STATES, Vessel, state_like, write_source
from tests.ports import free_port
from tests.unit.watch import tiny

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Two trainings with all servers: five minutes on an idle machine.
pytestmark = [pytest.mark.box, pytest.mark.timeout(2400)]

CAMERAS = ("east", "gate", "roof", "west")
NEW = "overflow"
LOOKED_AT = 2
"""Windows of each camera that a person names."""
LEARNT_FROM = 3
"""Cameras of which a state is known after the retraining. The others judge, and may stay `unknown`."""
PATIENCE = 1200
"""Seconds that a retraining may take."""
COLOURS = """async () => {
  const video = document.querySelector("#screen video"), canvas = document.createElement("canvas");
  const middle = [video.videoWidth / 2 - 4, video.videoHeight / 2 - 4, 8, 8];
  const paper = canvas.getContext("2d"), colours = [];
  video.pause();
  for (const share of [0.05, 0.95]) {
    await new Promise(seen => { video.onseeked = seen; video.currentTime = share * video.duration; });
    paper.drawImage(video, ...middle, 0, 0, 1, 1);
    colours.push([...paper.getImageData(0, 0, 1, 1).data].slice(0, 3));
  }
  return colours;
}"""
"""The mean colours in the middle of the clip that the page plays, at its beginning and at its end."""


@pytest.fixture
def project(tmp_path: Path, prefect_server: dict[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A clone with a source of two states and deployments that a worker runs; with its environment."""
    root = tmp_path / "project"
    git(tmp_path, "clone", "--quiet", str(PROJECT), str(root))
    git(root, "config", "user.name", "t")
    git(root, "config", "user.email", "t@localhost")
    write_source(tmp_path / "clips")
    recipe = Path(__file__).with_name("circle.yaml").read_text()
    (root / "recipes/circle.yaml").write_text(f"{recipe}ingest: {{source: {tmp_path / 'clips'}}}\n")
    environment = {**prefect_server, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        yield root, environment


@contextmanager
def running(root: Path, environment: dict[str, str], *command: str) -> Iterator[None]:
    """A program of the project, as long as the block."""
    with (root.parent / f"{command[1]}.log").open("w") as log:
        program = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=root, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        program.terminate()
        try:
            program.wait(30)
        except subprocess.TimeoutExpired:  # Prefect's worker may hang at its end; `make down` kills it, too
            program.kill()
            program.wait()


def first_version(root: Path, environment: dict[str, str]) -> None:
    """Train, register and commit it by hand: Prefect has its turn with the second one."""
    steps = ("flows.recipe circle", "slimstream scan", "dvc repro --quiet", "slimstream publish")
    for step in steps:
        subprocess.run([sys.executable, "-m", *step.split()], cwd=root, env=environment, check=True)
    commit(root)


def retrainings() -> list[Any]:
    """Those that somebody asked for."""
    deployment = api("read_deployment_by_name", "retrain/weekly")
    ours = FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment.id]}})
    return [run for run in api("read_flow_runs", flow_run_filter=ours) if not run.auto_scheduled]


def complete(run: Any) -> None:
    """Wait for the good end of a flow run; a busy server may be silent for a while."""
    end = time.monotonic() + PATIENCE
    state = run.state
    while not state.is_final():
        assert time.monotonic() < end, state
        time.sleep(2)  # each question is work for the server
        with suppress(httpx.HTTPError):
            state = api("read_flow_run", run.id).state
    assert state.is_completed(), state


def name_what_is_open(page: "Page") -> Counter[str]:
    """Watch each clip and say by keys what it shows, until each camera has enough; windows by camera."""
    from playwright.sync_api import expect

    seen: Counter[str] = Counter()
    for decided in count(1):
        until_played(page)
        camera = page.inner_text("#where")
        states = {state_like(colour) for colour in page.evaluate(COLOURS)}
        numbers = {text[1:].strip(): text[0] for text in page.locator("#states button").all_inner_texts()}
        if len(states) > 1:  # a window across the change shows neither state
            page.keyboard.press("x")
        elif known := numbers.get(*states):
            page.keyboard.press(known)
        else:
            assert states == {NEW} and not seen.total(), numbers
            page.keyboard.press("n")
            page.keyboard.type(NEW)
            page.keyboard.press("Enter")
        seen[camera] += states == {NEW}
        expect(page.locator("#decided li")).to_have_count(decided)
        if all(seen[camera] >= LOOKED_AT for camera in CAMERAS):
            break
    return seen


def test_a_state_that_nobody_knew_gets_its_name_on_the_tiles(
    project: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    root, environment = project
    first_version(root, environment)
    api("create_work_pool", WorkPoolCreate(name="slimstream", type="process"), overwrite=True)
    deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run(deploy, cwd=root, env=environment, check=True, capture_output=True)

    shown, port = {camera: "normal" for camera in CAMERAS} | {"roof": "leak"}, free_port()
    with ExitStack() as stack:
        settings = ["agree: 2", "inbox: {per_day: 4}", "cameras:"]
        for number, camera in enumerate(CAMERAS, 100):
            colour = lambda camera=camera: STATES[shown[camera]]  # noqa: E731
            address = stack.enter_context(tiny.http_camera(colour, FPS, draw=Vessel(number).draw))
            settings.append(f"  {camera}: {{source: '{address}'}}")
        (root / "watch.yaml").write_text("\n".join(settings) + "\n")
        asked = ["watch", "--settings", "watch.yaml", "--port", str(port)]
        stack.enter_context(running(root, environment, "slimstream", *asked))
        work = ["worker", "start", "--pool", "slimstream", "--type", "process", "--install-policy", "never"]
        stack.enter_context(running(root, environment, "prefect", *work))
        chromium = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=QUIET
        )
        stack.callback(chromium.close)
        page = chromium.new_page(viewport={"width": 1500, "height": 900})
        tiles, looks = page.locator("article strong"), iter(range(1, 9))

        def look(what: str) -> None:
            page.screenshot(path=tmp_path / f"{next(looks)} {what}.png")

        until_open(page, f"http://127.0.0.1:{port}")
        expect(tiles).to_have_text(["normal", "normal", "leak", "normal"], timeout=120_000)
        expect(page.locator("#model")).to_have_text("vessels 1")
        look("known states")

        shown.update(dict.fromkeys(CAMERAS, NEW))
        expect(tiles).to_have_text(["unknown"] * len(CAMERAS), timeout=120_000)
        look("unknown")

        page.locator("#inbox").click()
        until_played(page)
        look("inbox")
        seen = name_what_is_open(page)
        look("labelled")

        before = {run.id for run in retrainings()}
        deployment = api("read_deployment_by_name", "ingest-watch/daily")
        enough = {"enough": seen.total()}
        complete(api("create_flow_run_from_deployment", deployment.id, parameters=enough))
        (told,) = {a.data for a in api("read_artifacts") if a.key == "source" and NEW in str(a.data)}
        assert f"The inbox names a new state '{NEW}' with {seen.total()} clips." in told
        assert told.endswith("Started.")
        (retraining,) = (run for run in retrainings() if run.id not in before)
        complete(retraining)

        page.goto(f"http://127.0.0.1:{port}")
        tiny.until(lambda: tiles.all_inner_texts().count(NEW) >= LEARNT_FROM, 120)
        expect(page.locator("#model")).to_have_text("vessels 2")
        expect(page.locator("#verdict")).to_contain_text("passed the gate")
        look("named")
        named = [
            camera for camera, state in zip(CAMERAS, tiles.all_inner_texts(), strict=True) if state == NEW
        ]
        shown.update(dict.fromkeys(CAMERAS, "normal") | {named[0]: "leak"})
        tiny.until(
            lambda: all(tiles.nth(CAMERAS.index(one)).inner_text() == shown[one] for one in named), 120
        )
        look("over")


def until_played(page: "Page") -> None:
    """Wait until there is a picture of the clip. (The page forbids scripts from elsewhere to wait in it.)"""
    tiny.until(lambda: page.evaluate("document.querySelector('#screen video')?.readyState >= 2"))


def until_open(page: "Page", address: str) -> None:
    """Go to the page as soon as there is one."""
    from playwright.sync_api import Error

    def there() -> bool:
        try:
            page.goto(address)
        except Error:
            return False
        return True

    tiny.until(there, 120)
