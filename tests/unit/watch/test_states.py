"""A state changes when enough answers agree."""

from slimstream.watch.states import Change, State


def changes(state: State, labels: str) -> list[str]:
    """States that a row of answers, a letter each, leads to."""
    return [change.state for label in labels if (change := state.see(label, 0.9))]


def test_only_answers_in_a_row_change_it() -> None:
    state = State(3, {})
    assert changes(state, "aabaabbabb") == [] and state.state is None
    assert changes(state, "b") == ["b"] and state.state == "b"
    assert changes(state, "bbbaabb") == []
    assert changes(state, "aaa") == ["a"]


def test_a_state_may_need_fewer_or_more() -> None:
    state = State(2, {"leak": 1, "off": 4})
    seen = ["ok", "ok", "leak", "ok", "ok", "off", "off", "off", "off"]
    assert [c.state if (c := state.see(label, 1.0)) else "" for label in seen] == [
        *("", "ok", "leak", "", "ok", "", "", "", "off")
    ]


def test_a_change_tells_what_was_and_the_mean_probability() -> None:
    state = State(2, {})
    changes(state, "aa")
    state.see("b", 0.5)
    assert state.see("b", 0.7) == Change("b", "a", 0.6)


def test_answers_before_a_break_do_not_count() -> None:
    state = State(2, {})
    assert changes(state, "aab") == ["a"]
    state.forget()
    assert changes(state, "b") == [] and state.state == "a"
    assert changes(state, "b") == ["b"]
