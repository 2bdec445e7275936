"""Steps in the order of what they need, one at a time or several, here or on a Dask cluster."""

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slimstream.core.errors import UserError
from slimstream.experiments.runner import TimeLeft, run_command, run_steps


@dataclass(frozen=True)
class Note:
    """Leaves a file; or says why it cannot."""

    makes: Path
    needs: Sequence[Path] = ()
    fails: str = ""
    alike: str = "note"

    def seconds(self) -> float | None:
        return 60.0 if self.makes.exists() else None

    def run(self, quietly: bool, cores: int | None) -> None:
        assert all(file.exists() for file in self.needs)
        if self.fails == "killed":
            command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
            run_command(command, self.makes.with_suffix(".log"), cores, os.open(os.devnull, os.O_RDONLY))
        if self.fails:
            raise UserError(self.fails)
        self.makes.write_text(f"{threading.get_ident()} {quietly}")


def run(notes: Sequence[Note], jobs: int | None) -> list[tuple[str, str]]:
    return [(ended.step.makes.name, ended.error) for ended in run_steps(notes, jobs)]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIMSTREAM_DASK", raising=False)


def test_the_earlier_rows_come_first(tmp_path: Path) -> None:
    """Not all beginnings and then all ends: a table shows its first row as soon as it can."""
    a, b, c, d = (tmp_path / name for name in "abcd")
    one, other = [Note(a), Note(b, (a,))], [Note(c), Note(a), Note(d, (c, a))]
    assert [name for name, _ in run([*one, *other], None)] == ["a", "b", "c", "d"]
    assert a.read_text() == f"{threading.get_ident()} False"
    d.unlink()
    assert run([*one, *other], 1) == [("d", "")], "what is there is not done again"


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_goes_on_from_a_failed_step_fails_with_it(tmp_path: Path, jobs: int) -> None:
    a, b, c, d = (tmp_path / name for name in "abcd")
    notes = [Note(a, fails="no clips"), Note(b, (a,)), Note(c, (b,)), Note(d)]
    assert set(run(notes, jobs)) == {("a", "no clips"), ("b", "no clips"), ("c", "no clips"), ("d", "")}
    assert not b.exists()
    assert d.read_text().endswith(str(jobs > 1))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_process_costs_its_step_alone(tmp_path: Path, jobs: int) -> None:
    a, b, c, d = (tmp_path / name for name in "abcd")
    found = dict(run([Note(a, fails="killed"), Note(b, (a,)), Note(c), Note(d, (c,))], jobs))
    assert "killed, for want of memory? Take fewer --jobs" in found["a"] == found["b"]
    assert found["c"] == found["d"] == ""


def test_a_fault_of_ours_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run([Note(tmp_path / "b", (tmp_path / "never",))], 1)


def test_jobs_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--jobs 0"):
        run([Note(tmp_path / "a")], 0)


def test_the_time_left_goes_by_steps_that_are_alike(tmp_path: Path) -> None:
    """Finished ones of earlier runs count; of other kinds where there is none of its own."""
    done, open_ = Note(tmp_path / "a"), [Note(tmp_path / name) for name in "bcde"]
    assert TimeLeft(open_).message(1) == "4 steps left"
    done.makes.touch()
    left = TimeLeft([done, *open_])
    assert left.message(1) == "4 steps left, about 4 min" and left.message(2) == "4 steps left, about 2 min"
    left.record(Note(tmp_path / "b", alike="short"), 6.0)
    left.record(open_[1], None)
    assert left.message(9) == "2 steps left, about 1 min"
    left.record(open_[2], 1.0)
    left.record(open_[3], 1.0)
    assert left.message(1) == "0 steps left"


def test_a_command_says_what_it_says_in_its_log(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['A'], os.environ['OMP_NUM_THREADS']); sys.exit(int(sys.argv[1]))"
    log, lock = tmp_path / "log", os.open(os.devnull, os.O_RDONLY)
    environment: dict[str, Any] = {"A": "a", "OMP_NUM_THREADS": "3"}
    assert run_command([sys.executable, "-c", code, "0"], log, None, lock, **environment) > 0
    assert log.read_text() == "a 3\n"
    with pytest.raises(UserError, match=rf"exit status 3, see {log}; run again"):
        run_command([sys.executable, "-c", code, "3"], log, None, lock, **environment)
