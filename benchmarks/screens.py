"""`python -m benchmarks.screens ROOT`: the pictures of MLflow and Prefect in docs/operations.md.

In the new folder ROOT it makes a clone of what is committed here, starts its servers, and runs ten pipelines
of a tiny simulated plant, which takes a quarter of an hour on two idle cores. A second call with the same
folder takes the pictures again. Chromium is needed; ports are set as for `make up`. The servers are ended.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from ruamel.yaml import YAML

from flows.dvc_runner import environment
from slimstream.core.paths import Paths
from slimstream.tracking.servers import servers_of
from slimstream.tracking.view import QUERY

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).parents[1]
PLANT = HERE / "tests/faults/plant.yaml"
CHROMIUM = "/usr/bin/chromium"
WIDTH = 1300
SETTLE = 6000
"""Milliseconds for tables and charts, which fill a moment after their first words."""
ALONE = """if (location.protocol == "http:") {
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
}"""
"""Else MLflow opens its assistant beside the first page."""
CHANGES: list[Mapping[str, Any]] = [
    {},
    {"prune.target_params": 0.7},
    {"prune.target_params": 0.6},
    {"prune.target_params": 0.5},
    {"prune.target_params": 0.4},
    {"refit.strength": 0.1},
    {"refit.strength": 1.0},
    {"distill.temperature": 1.0},
    {"prune.target_params": 0.5, "refit.strength": 0.1},
    {"prune.target_params": 0.4, "refit.strength": 1.0},
]
"""What each pipeline sets otherwise than the plant's recipe: stages after the training, which are quick."""


def make(root: Path) -> None:
    """Clone the project into `root`, with the plant as a recipe, and start its servers."""
    subprocess.run(["git", "clone", "--quiet", HERE, root], check=True)
    (root / "recipes/plant.yaml").write_text(PLANT.read_text())
    run(root, "flows.recipe", "plant")
    who = ["-c", "user.name=screens", "-c", "user.email=screens@localhost"]
    subprocess.run(["git", *who, "commit", "--quiet", "--all", "-m", "The plant"], cwd=root, check=True)


def run(root: Path, module: str, *arguments: str) -> None:
    """Run `python -m MODULE` in `root`; raises CalledProcessError when it fails."""
    subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=root, env=environment(root, {}), check=True
    )


def pipelines(root: Path) -> None:
    """Run a pipeline for each of CHANGES, the first as a flow of Prefect."""
    file, yaml = Paths(root).params, YAML()
    usual = file.read_text()
    for changes in CHANGES:
        settings = yaml.load(usual)
        for name, value in changes.items():
            section, _, key = name.partition(".")
            settings[section][key] = value
        with file.open("w") as out:
            yaml.dump(settings, out)
        if changes:
            run(root, "dvc", "repro", "--quiet")
            run(root, "slimstream", "publish")
        else:
            run(root, "flows.retrain")
    file.write_text(usual)


@contextmanager
def browser(env: Mapping[str, str], width: int, height: int) -> Iterator["Page"]:
    """A page of Chromium that is logged in at both servers of `servers_of`."""
    from playwright.sync_api import sync_playwright

    login = {"username": env["MLFLOW_TRACKING_USERNAME"], "password": env["MLFLOW_TRACKING_PASSWORD"]}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            http_credentials=login,  # type: ignore[arg-type]
        )
        context.set_default_timeout(180_000)
        context.add_init_script(ALONE)
        yield context.new_page()
        chromium.close()


def pictures(root: Path, out: Path) -> None:
    """Take all pictures of the servers of `root` into the folder `out`."""
    env = servers_of(root)
    mlflow, prefect = env["MLFLOW_TRACKING_URI"] + "/#", env["PREFECT_API_URL"].removesuffix("/api")
    with browser(env, WIDTH, 900) as page:

        def look(url: str, word: str, name: str, height: int, click: str = "") -> None:
            """Open `url`, wait until `word` is there, click on `click`, and keep a picture as `name`.png."""
            page.set_viewport_size({"width": WIDTH, "height": height})
            page.goto("about:blank")
            page.goto(url)
            page.get_by_text(word).first.wait_for()
            if click:
                page.get_by_text(click, exact=True).first.click()
            page.wait_for_timeout(SETTLE)
            page.screenshot(path=out / f"{name}.png")

        look(f"{mlflow}/experiments/1/runs?{QUERY}", "plant · ", "mlflow-pipelines", 640)
        look(f"{mlflow}/models/plant", "Version 2", "mlflow-versions", 900)
        runs = json.dumps({number: run for number, run in version_runs(env).items() if number in ("1", "2")})
        look(
            f"{mlflow}/compare-model-versions?name=%22plant%22&runs={quote(runs)}",
            "Comparing",
            "mlflow-compare",
            1000,
        )
        page.goto(prefect)
        page.locator("input[type=password]").fill(env["PREFECT_API_AUTH_STRING"])
        page.keyboard.press("Enter")
        page.get_by_text("Flow Runs").first.wait_for()
        look(f"{prefect}/v2/runs", "plant on rig", "prefect-run", 640, click="plant on rig")


def version_runs(env: Mapping[str, str]) -> dict[str, str]:
    """The run of each version of the plant, by the version's number."""
    url = f"{env['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/model-versions/search"
    login = (env["MLFLOW_TRACKING_USERNAME"], env["MLFLOW_TRACKING_PASSWORD"])
    answer = httpx.get(url, params={"filter": "name='plant'"}, auth=login, trust_env=False, timeout=60)
    return {str(one["version"]): one["run_id"] for one in answer.raise_for_status().json()["model_versions"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screens", description=__doc__)
    parser.add_argument("root", type=Path, help="a new folder, or that of an earlier call")
    parser.add_argument("--out", type=Path, default=HERE / "docs", help="folder of the pictures")
    args = parser.parse_args()
    root = args.root.resolve()
    if not root.exists():
        make(root)
    try:
        run(root, "infra.services", "up")
        if not Paths(root).run("publish").exists():
            pipelines(root)
        pictures(root, args.out)
    finally:
        run(root, "infra.services", "down")


if __name__ == "__main__":
    main()
