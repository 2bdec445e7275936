"""Extraction by the workers of a real Dask cluster: the same bytes, whoever of them dies."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from distributed import Client

from slimstream.clips import packs
from slimstream.core import cluster
from slimstream.core.errors import UserError
from slimstream.core.parallel import WorkerDied
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.stages import STAGES
from slimstream.stages.extract import stage as extract
from slimstream.stages.extract.cluster import dask_map
from tests.pipeline.test_extract import PARAMS, contents, plant, work
from tests.unit.core.test_parallel import treacherous

ROOT = Path(__file__).parents[2]


@contextmanager
def started(*arguments: str, path: str = f"{ROOT}/src:{ROOT}") -> Iterator[subprocess.Popen[bytes]]:
    """`dask …` as a process of its own, ended with all that it started."""
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }
    command = [sys.executable, "-m", "dask", *arguments]
    process = subprocess.Popen(command, env=environment, cwd="/", stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        for each in family:
            each.kill()
        process.wait()


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    file = folder / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    with started("scheduler", *options) as process:
        while not file.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], process


def worker(address: str, count: int = 1, **options: str):  # type: ignore[no-untyped-def]
    many = ("--nworkers", str(count), "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
    return started("worker", address, *many, **options)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of two workers, each started again when it dies."""
    with scheduler(tmp_path_factory.mktemp("dask")) as (where, _), worker(where, 2):
        with Client(where, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
        yield where


@pytest.fixture
def run(address: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Paths], dict[str, float]]:
    """The extract stage on that cluster."""
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    monkeypatch.setenv("SLIMSTREAM_DASK", address)
    return lambda paths: STAGES["extract"].run(PARAMS, paths, null_log)


def fit_to_work() -> None:
    return None


def test_a_bad_item_costs_itself_alone(address: str) -> None:
    found = dict(dask_map(address, treacherous, range(20), fit_to_work))
    assert sorted(found) == list(range(20))
    assert isinstance(found.pop(3), WorkerDied)
    five = found.pop(5)
    assert isinstance(five, ValueError) and str(five) == "five"
    assert found == {n: n * n for n in found}


def test_a_worker_killed_in_the_middle_loses_nothing(
    address: str, run: Callable[[Paths], dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = 24
    whole, cut = plant(tmp_path / "whole", clips), plant(tmp_path / "cut", clips)
    with monkeypatch.context() as here:
        here.delenv("SLIMSTREAM_DASK")
        here.setattr(extract, "parallel_map", lambda work, jobs: enumerate(map(work, jobs)))
        STAGES["extract"].run(PARAMS, whole, null_log)

    with Client(address, set_as_default=False) as client:
        first = next(iter(client.run(os.getpid).values()))
    done_before = []

    def killing(*arguments: object) -> Iterator[tuple[int, Exception | None]]:
        for position, result in dask_map(*arguments):  # type: ignore[arg-type]
            if not done_before:
                done_before.append(len([path for path in work(cut) if path.suffix == ".json"]))
                psutil.Process(first).kill()
            yield position, result

    monkeypatch.setattr(extract, "dask_map", killing)
    assert run(cut)["extracted"] == clips
    assert 0 < done_before[0] < clips / 2 and not psutil.pid_exists(first)
    assert contents(cut.packs) == contents(whole.packs)
    assert not [path for path in work(cut) if "temporary" in path.name]
    monkeypatch.delenv("SLIMSTREAM_DASK")
    assert STAGES["extract"].run(PARAMS, cut, null_log)["extracted"] == 0, "the address is in no key"


def test_bad_clips_are_named_and_the_others_kept(
    run: Callable[[Paths], dict[str, float]], tmp_path: Path
) -> None:
    paths = plant(tmp_path, 4)
    (paths.ingested / "clip-1.avi").write_bytes(b"no video" * 99)
    with pytest.raises(UserError, match=r"^1 of 4 clips .*clip-1.avi \(no video"):
        run(paths)
    assert len([path for path in work(paths) if path.suffix == ".json"]) == 3


def test_a_worker_that_would_make_other_packs_is_refused(
    run: Callable[[Paths], dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = plant(tmp_path, 1)
    with monkeypatch.context() as here:
        here.setattr(extract, "_key", lambda p: "another")
        with pytest.raises(UserError, match=r"worker tcp://127.* has other code or libraries"):
            run(paths)
    elsewhere = packs.PackJob(tmp_path / "nowhere/clip.avi", tmp_path / "pack", PARAMS.extract)
    with pytest.raises(UserError, match=rf"worker tcp://127.* does not see {tmp_path}/nowhere: give"):
        list(extract._results([elsewhere]))


def test_a_cluster_that_is_not_there_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with pytest.raises(UserError, match=r"^no Dask scheduler answers at tcp://127.0.0.1:9"):
        list(dask_map("tcp://127.0.0.1:9", treacherous, [1], fit_to_work))
    with pytest.raises(UserError, match=r"^no Dask scheduler answers at nonsense"):
        list(dask_map("nonsense://x", treacherous, [1], fit_to_work))
    with scheduler(tmp_path) as (address, process):
        with pytest.raises(UserError, match=f"^the Dask scheduler at {address} has no worker"):
            list(dask_map(address, treacherous, [1], fit_to_work))
        monkeypatch.setattr(cluster, "PATIENCE", 60)
        with (
            worker(address, path="/nowhere"),
            pytest.raises(UserError, match=r"cannot import slimstream.stages.extract.cluster, "),
        ):
            list(dask_map(address, treacherous, [1], fit_to_work))
        with worker(address), pytest.raises(UserError, match="went away; start it and run again"):
            for _ in dask_map(address, treacherous, [1] * 100, fit_to_work):
                process.kill()
