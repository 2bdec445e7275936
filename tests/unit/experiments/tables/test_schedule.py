"""Steps in the order of what they need, one at a time or several."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from slimstream.core.errors import UserError
from slimstream.experiments.tables.cells import Step
from slimstream.experiments.tables.schedule import carry_out


@dataclass(frozen=True)
class Note:
    """Leaves a file; or says why it cannot."""

    makes: Path
    needs: tuple[Path, ...] = ()
    fails: str = ""

    def run(self, quietly: bool = False) -> None:
        assert all(file.exists() for file in self.needs)
        if self.fails == "killed":
            os._exit(1)
        if self.fails:
            raise UserError(self.fails)
        self.makes.write_text(str(os.getpid()))


def run(notes: list[Note], jobs: int) -> list[tuple[str, str]]:
    return [(step.makes.name, why) for step, why in carry_out(cast(list[Step], notes), jobs)]


def test_the_earlier_rows_come_first(tmp_path: Path) -> None:
    """Not all beginnings and then all ends: a table shows its first row as soon as it can."""
    a, b, c, d = (tmp_path / name for name in "abcd")
    one, other = [Note(a), Note(b, (a,))], [Note(c), Note(a), Note(d, (c, a))]
    assert [name for name, _ in run([*one, *other], 1)] == ["a", "b", "c", "d"]
    assert a.read_text() == str(os.getpid())
    d.unlink()
    assert run([*one, *other], 1) == [("d", "")], "what is there is not done again"


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_goes_on_from_a_failed_step_fails_with_it(tmp_path: Path, jobs: int) -> None:
    a, b, c, d = (tmp_path / name for name in "abcd")
    notes = [Note(a, fails="no clips"), Note(b, (a,)), Note(c, (b,)), Note(d)]
    assert set(run(notes, jobs)) == {("a", "no clips"), ("b", "no clips"), ("c", "no clips"), ("d", "")}
    assert d.exists() and not b.exists()
    assert (d.read_text() == str(os.getpid())) is (jobs == 1)


def test_a_killed_process_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Take fewer --jobs; run again to go on"):
        run([Note(tmp_path / "a", fails="killed")], 2)


def test_a_fault_of_ours_is_not_hidden(tmp_path: Path) -> None:
    step: Any = Note(tmp_path / "b", (tmp_path / "never",))
    with pytest.raises(AssertionError):
        run([step], 1)
