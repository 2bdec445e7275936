"""Metrics for Prometheus, made of what the cameras count when they are asked for."""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "slimstream_watch"
COUNTS = {
    "frames": "frames looked at",
    "answers": "windows answered",
    "dropped": "windows dropped because the machine is too slow",
    "failed": "windows and files without an answer",
    "breaks": "times that the pictures stayed away",
}


class WatchCollector(Collector):
    """`snapshot` is `Watcher.snapshot`."""

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        found = self._snapshot()
        for name, text in COUNTS.items():
            counter = CounterMetricFamily(f"{PREFIX}_{name}", f"Number of {text}", labels=["camera"])
            for camera in found["cameras"]:
                counter.add_metric([camera["name"]], camera[name])
            yield counter
        up = GaugeMetricFamily(f"{PREFIX}_up", "1 while the camera sends pictures", labels=["camera"])
        latency = GaugeMetricFamily(
            f"{PREFIX}_latency_seconds", "Seconds from a window's last frame to its answer", labels=["camera"]
        )
        state = GaugeMetricFamily(f"{PREFIX}_state", "1 for the present state", labels=["camera", "state"])
        probability = GaugeMetricFamily(
            f"{PREFIX}_probability", "Probability of each class, 0..1", labels=["camera", "state"]
        )
        unlikeness = GaugeMetricFamily(
            f"{PREFIX}_unlikeness", "How unlike the window is to what was learnt", labels=["camera"]
        )
        drift = GaugeMetricFamily(
            f"{PREFIX}_drift", "1 while the camera differs from before, and how", labels=["camera", "kind"]
        )
        for camera in found["cameras"]:
            name = camera["name"]
            if camera["drift"]:
                drift.add_metric([name, camera["drift"]], 1.0)
            up.add_metric([name], float(camera["status"] == "live"))
            latency.add_metric([name], camera["latency"])
            if camera["state"]:
                state.add_metric([name, camera["state"]], 1.0)
            for label, value in camera["probabilities"].items():
                probability.add_metric([name, label], value)
            if camera["unlikeness"] is not None:
                unlikeness.add_metric([name], camera["unlikeness"])
        yield from (up, latency, state, probability, unlikeness, drift)
        yield CounterMetricFamily(f"{PREFIX}_events", "Number of events", value=found["events_sent"])
        model = GaugeMetricFamily(f"{PREFIX}_model", "1 for the network that answers", labels=["model"])
        model.add_metric([found["model"]["name"]], 1.0)
        yield model
