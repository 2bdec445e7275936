"""Events to the webhook that `make up` sends its alerts to."""

import json
import queue
import sys
import time
from dataclasses import asdict
from threading import Thread
from urllib.request import Request, urlopen

from slimstream.watch.events import WAITING, Event

PATIENCE = 10.0
"""Seconds that the receiver may take."""
TRIES = 5
"""An event is sent so many times at most."""
FIRST_PAUSE = 1.0
"""Seconds before the second time; each pause is twice the one before."""


class Webhook:
    """Posts events as JSON: `text`, which Slack, Mattermost and most others show, and the fields of `Event`.

    A receiver that is slow or away holds up no other sink: events wait for it, and after TRIES one is lost.
    """

    name = "the webhook"

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._thread = Thread(target=self._work, name="webhook", daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """Let the event wait. Raises ValueError when too many wait already."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            raise ValueError(f"{WAITING} events wait for it already") from None

    def close(self) -> None:
        """Give what waits a few seconds."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            for attempt in range(TRIES):
                if attempt:
                    time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
                try:
                    self._post(event)
                    break
                except Exception as error:  # http.client has errors of its own; the next event goes on
                    said = type(error).__name__  # the message may hold the address, which is a secret
            else:
                print(f"watch: {self.name} did not take an event ({said}).", file=sys.stderr, flush=True)

    def _post(self, event: Event) -> None:
        body = json.dumps({"text": event.text, **asdict(event)}).encode()
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(self._url, body, headers), timeout=PATIENCE):  # the operator's own address
            pass
