"""Passwords: addresses are shown without them, and the page asks for one."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

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
    """`address` without user, password, query and fragment, which may hold a key.

    A password may have any characters, so all up to the last @ counts as user and password.
    """
    if "://" not in address:
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def without_address(text: str, address: str) -> str:
    """`text`, such as a message of FFmpeg, in which `address` and what is secret of it are replaced."""
    text = text.replace(address, shown(address))
    if "://" in address:
        login, _, place = address.partition("://")[2].rpartition("@")
        query = place.partition("?")[2].partition("#")[0]
        for part in (login, login.partition(":")[2], unquote(login.partition(":")[2]), query):
            text = text.replace(part, "…") if part else text
    return text
