"""`watch`: cameras, answers, events, the champion and the page, put together."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import cv2

from slimstream.core.parallel import cores
from slimstream.core.paths import Paths
from slimstream.watch import secrets
from slimstream.watch.camera import Camera, Shared
from slimstream.watch.champion import Champion
from slimstream.watch.clips import Clips
from slimstream.watch.drift.observer import Drift
from slimstream.watch.events import JsonLines, Outbox, Sink, Terminal
from slimstream.watch.inbox.desk import Desk
from slimstream.watch.inbox.inbox import Inbox
from slimstream.watch.inbox.suspects import Suspects
from slimstream.watch.mqtt import Mqtt
from slimstream.watch.notices import Notices
from slimstream.watch.pending import Pending
from slimstream.watch.prefect_events import PrefectEvents, prefect_server
from slimstream.watch.settings import WatchParams, expand
from slimstream.watch.sources import is_stream
from slimstream.watch.turns import Turns
from slimstream.watch.webhook import Webhook

TOLD = 60.0
"""Seconds between two sentences about a machine that is too slow."""


PATIENCE = 5.0
"""Seconds at the end for threads that wait for a silent camera."""


class Watcher:
    """Everything that runs between `start` and `close`."""

    def __init__(self, p: WatchParams, champion: Champion, paths: Paths) -> None:
        """Raises UserError for a source that cannot be one; nothing runs yet."""
        self.folder = paths.root / p.folder
        self.champion = champion
        self._stop, self._pending = Flag(), Pending()
        cameras = {
            name: camera.model_copy(update={"source": expand(camera.source, paths.root)})
            for name, camera in p.cameras.items()
        }
        streams = [name for name, camera in cameras.items() if is_stream(camera.source)]
        # Long enough for a key frame, a window and a few answers.
        self.turns = Turns(streams, 15 + 2 * champion.model.seconds)
        self._told, self._dropped = float("-inf"), 0
        notices = Notices()
        self.clips = Clips(self.folder / "clips", p.clips, notices)
        self.outbox = Outbox(_sinks(p, self.folder, paths.root), self.clips, notices)
        self.inbox = Inbox(self.folder / "inbox", p.inbox, notices) if p.inbox.per_day else None
        self.drift = Drift(p.cameras if p.drift else [], self.folder, self.outbox, notices)
        observers = [self.drift.see, *([self.inbox.observe] if self.inbox else [])]
        self.desk = (
            Desk(self.inbox.store, Suspects(paths, self.inbox.store.folder), lambda: champion.model)
            if self.inbox
            else None
        )
        shared = Shared(
            p,
            self.folder,
            lambda: champion.model,
            self._pending,
            self.outbox,
            observers,
            self.turns,
            self._stop,
        )
        self.cameras = {name: Camera(name, camera, shared) for name, camera in cameras.items()}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run everything in threads; at the end of the block all ends and waiting events are sent."""
        before = cv2.getNumThreads()
        cv2.setNumThreads(1)  # cameras are threads already, and those of OpenCV wait for each other busily
        calls = [*[self._pending.answer_all] * cores(), self.champion.follow]
        work = [Thread(target=call, args=[self._stop], daemon=True) for call in calls]
        for thread in work:
            thread.start()
        for camera in self.cameras.values():
            camera.start()
        try:
            yield
        finally:
            self._stop.set()
            # A thread that is still within C++ when Python ends would abort the process.
            end = time.monotonic() + PATIENCE
            for thread in [*work, *(camera.thread for camera in self.cameras.values())]:
                thread.join(max(0.0, end - time.monotonic()))
            cv2.setNumThreads(before)
            self.outbox.close()
            if self.inbox:
                self.inbox.close()

    def wait(self) -> bool:
        """Wait until all sources have ended, which live ones never do; say when the machine is too slow.

        Returns whether something of them had no answer.
        """
        while not all(camera.ended for camera in self.cameras.values()):
            self._stop.wait(0.2)
            late = [name for name, camera in self.cameras.items() if camera.behind]
            self.turns.look(time.monotonic(), late)
            self._tell_slowness(len(late))
        return any(camera.failed for camera in self.cameras.values())

    def snapshot(self) -> dict[str, Any]:
        """All that the page and the metrics show, as JSON."""
        model = self.champion.model
        return {
            "now": time.time(),
            "model": {
                "name": model.name,
                "classes": model.classifier.classes,
                "runtime": model.classifier.runtime,
                "window": model.seconds,
                "since": self.champion.since,
                "gate": model.tags.get("gate", ""),
                "reasons": model.tags.get("gate_reasons", ""),
                "macro_f1": model.tags.get("macro_f1", ""),
                "problem": self.champion.problem,
            },
            "cameras": [_shown(camera) | self.drift.shown(name) for name, camera in self.cameras.items()],
            "events": [asdict(event) | {"text": event.text} for event in reversed(list(self.outbox.recent))],
            "events_sent": self.outbox.sent,
            "inbox": self.desk.count if self.desk else None,
        }

    def _tell_slowness(self, late: int) -> None:
        dropped, turns = sum(camera.dropped for camera in self.cameras.values()), self.turns
        slow = late or dropped > self._dropped or not turns.all_at_once
        if slow and time.monotonic() - self._told > TOLD:
            in_turns = f", looks at {turns.at_once} at once for {turns.seconds:.0f} s each"
            print(
                f"watch: this machine is too slow for {len(self.cameras)} cameras: it drops windows "
                f"({dropped - self._dropped}), leaves out frames ({late} cameras)"
                f"{'' if turns.all_at_once else in_turns}; give it fewer.",
                file=sys.stderr,
                flush=True,
            )
            self._told, self._dropped = time.monotonic(), dropped


def _sinks(p: WatchParams, folder: Path, root: Path) -> list[Sink]:
    sinks: list[Sink] = [Terminal(), JsonLines(folder / "events.jsonl")]
    if url := secrets.secret(secrets.WEBHOOK, root):
        sinks.append(Webhook(url))
    if p.drift and (server := prefect_server(root)):
        sinks.append(PrefectEvents(server))
    if p.mqtt is not None:
        user, password = (secrets.secret(name, root) for name in (secrets.MQTT_USER, secrets.MQTT_PASSWORD))
        sinks.append(Mqtt(p.mqtt, p.cameras, user, password))
    return sinks


def _shown(camera: Camera) -> dict[str, Any]:
    answer = camera.answer or {}
    return {
        "name": camera.name,
        "address": camera.address,
        "region": camera.region,
        "status": camera.status,
        "since": camera.since,
        "reason": camera.reason,
        "behind": camera.behind,
        "in_turn": camera.in_turn,
        "state": camera.state,
        "label": answer.get("label"),
        "probabilities": {key[2:]: value for key, value in answer.items() if key.startswith("p_")},
        "unlikeness": answer.get("unlikeness"),
        "answered_by": camera.answered_by,
        "latency": camera.latency,
        "fps": camera.fps,
        "segments": list(camera.segments),
        **{name: getattr(camera, name) for name in ("frames", "answers", "dropped", "failed", "breaks")},
    }
