"""When a machine counts as too slow for a stream, and when not."""

from slimstream.watch.late import Lateness


def left_out(packets: list[tuple[float, float]]) -> list[bool]:
    """For (reading time, timestamp): whether the packet is left out; every tenth is a key frame."""
    lateness = Lateness()
    return [lateness.leaves_out(now, stamp, i % 10 == 0) for i, (now, stamp) in enumerate(packets)]


def test_a_stream_that_is_read_in_time_loses_nothing() -> None:
    assert not any(left_out([(100 + i / 25, i / 25) for i in range(5000)]))


def test_a_slow_machine_leaves_out_packets_until_a_key_frame_in_time() -> None:
    slow = [(100 + i / 20, i / 25) for i in range(1500)]  # 25 frames a second, of which 20 are managed
    assert any(found := left_out(slow)) and not any(found[:200])
    at, stamp = slow[-1]
    # Reading alone is fast: it catches up with the packets that wait, and is in time from then on.
    rest = [(max(at + i / 1000, 100 + stamp + i / 25), stamp + i / 25) for i in range(1, 1200)]
    found = left_out([*slow, *rest])
    back = found.index(False, 1499)
    assert back % 10 == 0 and not any(found[back:])


def test_bursts_are_not_slowness() -> None:
    """HLS gives six seconds at once, every six seconds."""
    assert not any(left_out([(100 + 6 * (i // 150) + i % 150 / 1000, i / 25) for i in range(3000)]))


def test_a_clock_that_is_set_or_runs_slowly_is_not_slowness() -> None:
    jump = [(100 + i / 25, i / 25 - 3600 * (i > 1000)) for i in range(3000)]
    slow_clock = [(100 + i / 25 * 1.0002, i / 25) for i in range(0, 25 * 86400, 25)]
    assert not any(left_out(jump)) and not any(left_out(slow_clock))
