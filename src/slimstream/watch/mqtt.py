"""States and events to an MQTT broker, with the topics by which Home Assistant finds sensors.

<prefix>/availability           online, or offline when watch has ended or died (last will); retained
<prefix>/<camera>/availability  online or offline: whether the camera sends pictures; retained
<prefix>/<camera>/state         the last change of state, JSON as an event; retained
<prefix>/<camera>/event         every event, JSON
<discovery>/sensor/<prefix>_<camera>/config   Home Assistant's description of the sensor; retained
"""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slimstream.core.errors import UserError
from slimstream.watch.events import WAITING, Event
from slimstream.watch.settings import MqttParams

if TYPE_CHECKING:
    from paho.mqtt.client import Client

QOS = 1
"""At least once: events of an outage, and the newest states, are sent when the broker is back."""


class Mqtt:
    """A connection that is kept up by a thread of its own; without a broker it tries again for ever."""

    name = "the MQTT broker"

    def __init__(self, p: MqttParams, cameras: Iterable[str], user: str | None, password: str | None) -> None:
        """Begin to connect. Raises UserError when `p.ca` cannot be read."""
        from paho.mqtt.client import CallbackAPIVersion, Client

        self._p, self._cameras = p, list(cameras)
        self._retained: dict[str, str] = {f"{p.prefix}/availability": "online"}
        self._waiting = set[int]()
        """Ids of the events that the broker has not confirmed."""
        self._arrived = deque[int]()
        """Ids that it has confirmed since `send` looked; another thread adds them."""
        self._told = False
        self._client = Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self._client.username_pw_set(user, password)
        if p.tls:
            try:
                self._client.tls_set(ca_certs=str(p.ca) if p.ca else None)
            except OSError as error:
                raise UserError(f"mqtt.ca: {p.ca} cannot be read ({error}).") from error
        self._client.will_set(f"{p.prefix}/availability", "offline", QOS, retain=True)
        self._client.max_queued_messages_set(0)  # without a limit: `send` counts the events that wait
        self._client.reconnect_delay_set(1, 60)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_publish = lambda client, data, mid, reason, properties: self._arrived.append(mid)
        for camera in self._cameras:
            self._retained |= self._discovery(camera)
        self._client.connect_async(p.host, p.port)
        self._client.loop_start()

    def send(self, event: Event) -> None:
        """Publish an event. Raises ValueError when too many wait for a broker that is away."""
        topic = f"{self._p.prefix}/{event.camera}"
        if event.kind == "state":
            self._keep(f"{topic}/state", _payload(event))
        self._keep(f"{topic}/availability", "offline" if event.kind == "gone" else "online")
        while self._arrived:
            self._waiting.discard(self._arrived.popleft())
        if len(self._waiting) >= WAITING:
            raise ValueError(f"{WAITING} events wait for it already")
        self._waiting.add(self._client.publish(f"{topic}/event", _payload(event), QOS).mid)

    def close(self) -> None:
        """Say that all is offline, send what waits for a moment, and disconnect."""
        sent = self._client.publish(f"{self._p.prefix}/availability", "offline", QOS, retain=True)
        if self._client.is_connected():
            sent.wait_for_publish(5)
        self._client.disconnect()
        self._client.loop_stop()

    def _keep(self, topic: str, payload: str) -> None:
        """Publish what a client that connects later must know, if it is new.

        While the broker is away only the newest is kept; `_on_connect` publishes it.
        """
        if self._retained.get(topic) != payload:
            self._retained[topic] = payload
            if self._client.is_connected():
                self._client.publish(topic, payload, QOS, retain=True)

    def _on_connect_fail(self, client: "Client", data: Any) -> None:
        if not self._told:
            where = f"{self._p.host}:{self._p.port}"
            print(f"watch: the MQTT broker {where} does not answer; it is tried again.", flush=True)
            self._told = True

    def _on_connect(self, client: "Client", data: Any, flags: Any, reason: Any, properties: Any) -> None:
        """Publish what is retained: the broker may be another one, or have forgotten it."""
        if reason.is_failure:
            print(f"watch: the MQTT broker refuses: {reason}.", flush=True)
            return
        self._told = False
        for topic, payload in list(self._retained.items()):
            client.publish(topic, payload, QOS, retain=True)

    def _discovery(self, camera: str) -> dict[str, str]:
        """Topic and description of the sensor of `camera`; see Home Assistant, "MQTT discovery"."""
        if self._p.discovery is None:
            return {}
        topic, sensor = f"{self._p.prefix}/{camera}", f"{self._p.prefix}_{camera}"
        config = {
            "name": camera,
            "unique_id": sensor,
            "state_topic": f"{topic}/state",
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": f"{topic}/state",
            "availability": [{"topic": f"{self._p.prefix}/availability"}, {"topic": f"{topic}/availability"}],
            "availability_mode": "all",
            "device": {"identifiers": [self._p.prefix], "name": self._p.prefix, "manufacturer": "slimstream"},
        }
        return {f"{self._p.discovery}/sensor/{sensor}/config": json.dumps(config)}


def _payload(event: Event) -> str:
    return json.dumps(asdict(event))
