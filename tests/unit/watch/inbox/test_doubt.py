"""Which answers are doubtful, and why."""

import pytest

from slimstream.watch.inbox.doubt import Doubts
from slimstream.watch.model import Model
from tests.unit.watch import tiny
from tests.unit.watch.inbox.windows import look


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny.model(tmp_path_factory.mktemp("model"))


def test_a_sure_answer_that_agrees_is_not_doubtful(model: Model) -> None:
    assert not Doubts(0.2).see(look(model))


def test_what_the_network_does_not_know_is_more_useful_the_less_it_is_alike(model: Model) -> None:
    near, far = (Doubts(0.2).see(look(model, "unknown", unlikeness=u))[0] for u in (1.1, 5.0))
    assert near.why == far.why == "unknown" and 1 < near.usefulness < far.usefulness < 2


def test_close_probabilities_are_uncertain(model: Model) -> None:
    (found,) = Doubts(0.2).see(look(model, p=0.55))
    assert found.why == "uncertain" and found.usefulness == pytest.approx(0.9)
    assert not Doubts(0.2).see(look(model, p=0.61))


def test_an_answer_that_its_neighbours_do_not_confirm_disagrees(model: Model) -> None:
    doubts = Doubts(0.2)
    assert not doubts.see(look(model, "normal", 0.1, state="leak"))  # it may be the first of a new state
    (found,) = doubts.see(look(model, "leak", 0.9, state="leak"))
    assert found.why == "disagreeing" and found.look.answer["label"] == "normal"
    assert found.usefulness == pytest.approx(0.9)


def test_the_first_answers_of_a_new_state_do_not_disagree(model: Model) -> None:
    doubts = Doubts(0.2)
    for _ in range(3):
        assert not doubts.see(look(model, "normal", 0.1, state="leak"))
    assert not doubts.see(look(model, "normal", 0.1, state="normal"))
    assert not doubts.see(look(model, "leak", 0.9, state="normal")) and doubts.rest()


def test_cameras_do_not_mix(model: Model) -> None:
    doubts = Doubts(0.2)
    doubts.see(look(model, "normal", 0.1, camera="roof"))
    assert not doubts.see(look(model, "leak", 0.9, camera="gate"))
    assert [found.look.camera for found in doubts.rest()] == ["roof"] and not doubts.rest()
