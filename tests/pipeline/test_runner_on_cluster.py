"""The runner of experiments on a Dask cluster of one scheduler and one worker, both real processes."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimstream.core import cluster as core_cluster
from slimstream.core.errors import UserError
from slimstream.experiments import runner
from slimstream.experiments.runner import run_command, run_steps
from tests.pipeline.test_cluster import scheduler, started

SAY = "import os, sys; print(os.getppid(), os.environ.get('SLIMSTREAM_DASK')); sys.exit(int(sys.argv[1]))"


@dataclass(frozen=True)
class Say:
    """Has a process write who its parent is, and end with `status`."""

    makes: Path
    needs: Sequence[Path] = ()
    status: int = 0
    alike: str = "say"

    def seconds(self) -> float | None:
        return None

    def run(self, quietly: bool, cores: int | None) -> None:
        half = self.makes.with_suffix(".half")
        run_command([sys.executable, "-c", SAY, str(self.status)], half, cores, 2, SLIMSTREAM_DASK="set")
        half.rename(self.makes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ("--nthreads", "2", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1")
    with scheduler(tmp_path_factory.mktemp("dask")) as (address, _), started("worker", address, *options):
        yield address


def test_steps_are_run_by_the_workers_and_fail_as_they_do_here(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMSTREAM_DASK", cluster)
    a, b, c, d = (tmp_path / name for name in "abcd")
    steps = [Say(a), Say(b, (a,)), Say(c, status=3), Say(d, (c,))]
    ended = {end.step.makes.name: end for end in run_steps(steps)}
    assert ended["a"].error == ended["b"].error == "" and "exit status 3" in ended["c"].error
    assert ended["d"].error == ended["c"].error and not d.exists()
    worker, address = b.read_text().split()
    # A stage that spread its own work over the cluster would wait for the worker that waits for it.
    assert int(worker) != os.getpid() and address == "None"
    assert [end.step.makes.name for end in run_steps([Say(a), Say(b, (a,))])] == [], "done is done"


def test_a_worker_with_other_code_is_refused(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMSTREAM_DASK", cluster)
    monkeypatch.setattr(runner, "code_key", lambda code: "other")
    with pytest.raises(UserError, match=r"the Dask worker tcp://127.* has other code: give it this checkout"):
        list(run_steps([Say(tmp_path / "a")]))
    assert not (tmp_path / "a").exists()


def test_a_scheduler_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMSTREAM_DASK", "nonsense://x")
    with pytest.raises(UserError, match="no Dask scheduler answers at nonsense"):
        list(run_steps([Say(tmp_path / "a")]))


def test_a_scheduler_that_goes_away_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_cluster, "PATIENCE", 5)
    options = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1")
    with scheduler(tmp_path) as (address, process), started("worker", address, *options):
        monkeypatch.setenv("SLIMSTREAM_DASK", address)
        steps = [Say(tmp_path / f"made/{n}") for n in range(50)]
        with pytest.raises(UserError, match="went away; start it and run again"):
            for _ in run_steps(steps):
                process.kill()
    assert any((tmp_path / "made").iterdir())
