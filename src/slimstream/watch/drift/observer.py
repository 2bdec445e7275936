"""Gives the answered windows of all cameras to their monitors, and what these find to the sinks."""

from collections.abc import Iterable
from pathlib import Path

from slimstream.watch.drift.blocks import measure
from slimstream.watch.drift.monitor import Monitor
from slimstream.watch.events import Outbox
from slimstream.watch.looks import Look
from slimstream.watch.notices import Notices

DAYS = "drift.jsonl"


class Drift:
    """All cameras. What is known of them is in the folder `drift` of `folder`, the summaries in DAYS."""

    def __init__(self, cameras: Iterable[str], folder: Path, outbox: Outbox, notices: Notices) -> None:
        self._outbox, self._notices = outbox, notices
        self._monitors: dict[str, Monitor] = {}
        try:
            import scipy.stats  # noqa: F401 (now, and not within the first look)
        except ImportError:
            notices.failed("drift", "SciPy is not installed here, so cameras are not compared with before.")
            return
        for camera in cameras:
            monitor = Monitor(
                camera,
                folder / "drift" / f"{camera}.safetensors",
                lambda day: day.append(folder / DAYS),
            )
            if monitor.problem:
                notices.failed(f"drift of {camera}", monitor.problem)
            self._monitors[camera] = monitor

    def see(self, look: Look) -> None:
        """Take an answered window; an `Observer`."""
        monitor = self._monitors.get(look.camera)
        if monitor is None:
            return
        try:
            events = monitor.see(look.window.time, measure(look), look.window.model)
            for event in events:
                self._outbox.put(event, look.reel())
            if not monitor.problem:
                self._notices.worked(f"drift of {look.camera}")
        except Exception as error:  # the answer is there, and the next window may be judged again
            self._notices.failed(f"drift of {look.camera}", f"{look.camera} is not compared: {error}")

    def shown(self, camera: str) -> dict[str, str]:
        """What the page and the metrics show of a camera: `drift` (a kind, or "") and `notice`."""
        monitor = self._monitors.get(camera)
        return {"drift": monitor.disturbed if monitor else "", "notice": monitor.notice if monitor else ""}
