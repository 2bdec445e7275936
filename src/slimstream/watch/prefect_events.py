"""Drift of cameras as events of the Prefect server of `make up`, whose automations act on them.

Over Prefect's HTTP API: `watch` runs where Prefect is not installed, too.
"""

import json
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

from slimstream.tracking.servers import servers_of
from slimstream.watch.drift.kinds import KINDS, PREFECT
from slimstream.watch.events import Event
from slimstream.watch.webhook import PATIENCE, Webhook

URL, LOGIN = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"


def prefect_server(root: Path) -> Mapping[str, str]:
    """Address and login: of the environment, or of the server of `make up` in `root`; empty without one.

    Raises UserError when the files of `make up` are incomplete.
    """
    return os.environ if os.environ.get(URL) else servers_of(root)


class PrefectEvents(Webhook):
    """Sends the events that are of KINDS, and waits for the server as a webhook is waited for."""

    name = "the Prefect server"

    def __init__(self, server: Mapping[str, str]) -> None:
        super().__init__(f"{server[URL]}/events")
        self._login = server.get(LOGIN)

    def send(self, event: Event) -> None:
        if event.kind in KINDS:
            super().send(event)

    def _post(self, event: Event) -> None:
        body = {
            "id": str(uuid4()),
            "occurred": event.time,
            "event": PREFECT + event.kind,
            "resource": {
                "prefect.resource.id": f"slimstream.camera.{event.camera}",
                "prefect.resource.name": event.camera,
            },
            "payload": {"text": event.text, "kind": event.kind, "camera": event.camera},
        }
        headers = {"Content-Type": "application/json"}
        if self._login:
            headers["Authorization"] = f"Basic {b64encode(self._login.encode()).decode()}"
        with urlopen(Request(self._url, json.dumps([body]).encode(), headers), timeout=PATIENCE):
            pass
