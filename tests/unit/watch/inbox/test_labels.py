"""Names of states, and decisions that can be taken back."""

from pathlib import Path

import pytest

from slimstream.core.errors import UserError
from slimstream.watch.inbox import labels
from tests.unit.watch.inbox.windows import item, kept


@pytest.mark.parametrize(
    ("given", "state"), [("foam", "foam"), ("  Schaum  oben ", "Schaum oben"), ("leak", "leak")]
)
def test_a_state_has_a_plain_name(given: str, state: str) -> None:
    assert labels.checked_state(given, ["leak", "normal"]) == state


@pytest.mark.parametrize(
    "name", ["", " ", "../up", "a/b", "=1+1", "-x", ".hidden", "x" * 65, "a\u202eb\n<i>"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="named by letters"):
        labels.checked_state(name, [])


@pytest.mark.parametrize("name", ["air, leak", "A&B", "5 %", "#3", "leak.", "x" * 65])
def test_a_class_can_be_named_whatever_it_is_called(name: str) -> None:
    assert labels.checked_state(name, ["leak", name]) == name


def test_a_name_that_misleads_is_refused() -> None:
    with pytest.raises(UserError, match="no state"):
        labels.checked_state("Unknown", [])
    with pytest.raises(UserError, match="looks like the state 'air_leakage'"):
        labels.checked_state("Air leakage", ["air_leakage"])


def test_new_states_can_be_named_from_then_on(tmp_path: Path) -> None:
    one = item()
    store = kept(tmp_path, one)
    labels.label(store, one.id, "foam")
    assert labels.states_of(store, ["normal", "leak"]) == ["normal", "leak", "foam"]
    with pytest.raises(KeyError):
        labels.dismiss(store, "gone")
