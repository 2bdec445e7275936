import time
from functools import partial

from slimstream.models.latency import latencies, latency, percentiles


def test_percentiles_by_hand() -> None:
    both = percentiles(list(range(101)))
    assert (both.p50, both.p95) == (50, 95)


def test_calls_take_turns_in_changing_orders_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []

    def slow_at_first(name: str) -> None:
        order.append(name)
        time.sleep(0.05 if order.count(name) <= 2 else 0)

    spent = latencies({name: partial(slow_at_first, name) for name in "ab"}, runs=5, warm_up=2)
    turns = ["".join(order[i : i + 2]) for i in range(0, 14, 2)]
    assert len(order) == 14 and set(turns) == {"ab", "ba"}
    assert list(spent) == ["a", "b"] and spent["a"].p50 < 25


def test_one_call_alone_is_in_milliseconds() -> None:
    assert 19 <= latency(lambda: time.sleep(0.02), runs=5, warm_up=0).p50 < 200
