"""Passwords: addresses are shown without them, and the page asks for one."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from slimstream.tracking.servers import FOLDER, SECRETS, read_variables

PASSWORD = "SLIMSTREAM_WATCH_PASSWORD"
WEBHOOK = "SLIMSTREAM_WEBHOOK"
"""Variable with the address for alerts. It is kept with the passwords, because it often contains one."""
MQTT_USER, MQTT_PASSWORD = "SLIMSTREAM_MQTT_USER", "SLIMSTREAM_MQTT_PASSWORD"


def secret(name: str, root: Path) -> str | None:
    """The variable `name` of the environment, or of the file where `make up` keeps passwords below `root`."""
    if value := os.environ.get(name):
        return value
    file = root / FOLDER / SECRETS
    return read_variables(file).get(name) if file.exists() else None


def shown(address: str) -> str:
    """`address` without user, password, query and fragment, which may hold a key."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def without_address(text: str, address: str) -> str:
    """`text`, such as a message of FFmpeg, in which `address` and what is secret of it are replaced."""
    text = text.replace(address, shown(address))
    if "://" in address:
        parts = urlsplit(address)
        for part in (parts.netloc.rpartition("@")[0], parts.password, parts.query):
            text = text.replace(part, "…") if part else text
    return text
