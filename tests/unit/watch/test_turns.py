"""Cameras that are too many for a machine take turns; each has its turn, and none is forgotten."""

from slimstream.watch.late import Lateness
from slimstream.watch.turns import Turns

NAMES = [f"c{n}" for n in range(10)]


def seen(turns: Turns) -> list[str]:
    return [name for name in NAMES if turns.has(name)]


def test_all_are_looked_at_while_the_machine_is_fast_enough() -> None:
    turns = Turns(NAMES, 20)
    for now in range(1000):
        turns.look(now, [])
    assert seen(turns) == NAMES and turns.all_at_once


def test_a_camera_that_is_late_for_a_moment_changes_nothing() -> None:
    turns = Turns(NAMES, 20)
    for now in range(100):
        turns.look(now, NAMES if now == 10 else [])
    assert turns.all_at_once


def test_with_too_many_cameras_fewer_take_turns_until_none_is_late() -> None:
    """A machine for four cameras: every camera is looked at in each round, whole turns long."""
    turns, looked_at = Turns(NAMES, 20), dict.fromkeys(NAMES, 0)
    for now in range(600):
        now_seen = seen(turns)
        turns.look(now, now_seen[4:])
        if now >= 100:
            for name in now_seen:
                looked_at[name] += 1
    assert 3 <= turns.at_once <= 5
    assert min(looked_at.values()) > 0.6 * max(looked_at.values())


def test_when_the_machine_has_time_again_all_are_looked_at() -> None:
    turns = Turns(NAMES, 20)
    for now in range(100):
        turns.look(now, NAMES)
    few = turns.at_once
    for now in range(100, 3000):
        turns.look(now, [])
    assert few <= 2 and turns.all_at_once and seen(turns) == NAMES


def test_a_stream_begins_its_turn_with_a_key_frame_and_is_not_late() -> None:
    mine = [True]
    lateness = Lateness(lambda: mine[0])

    def left_out(i: int, late: float = 0) -> bool:
        return lateness.leaves_out(100 + i / 25 + late, i / 25, i % 50 == 0)

    assert not any(left_out(i) for i in range(100))
    mine[0] = False
    assert all(left_out(i) for i in range(100, 130))
    mine[0] = True
    assert [left_out(i, late=30) for i in range(130, 300)].index(False) == 20  # frame 150
    assert not lateness.behind


def test_without_streams_nobody_takes_turns() -> None:
    turns = Turns([], 20)
    for now in range(100):
        turns.look(now, ["file"])
    assert turns.all_at_once
