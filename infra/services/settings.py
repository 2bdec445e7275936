"""Settings of the servers: ports, type of database, passwords."""

import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from slimstream.core.errors import UserError
from slimstream.tracking import servers
from slimstream.tracking.servers import HOST, read_variables
from slimstream.watch.secrets import MQTT_PASSWORD, MQTT_USER, PASSWORD, WEBHOOK

USER = "admin"
"""Name of the user at both servers."""
STORAGE = "AWS_"
"""Prefix of the variables that give boto3, DVC and MLflow the S3 server and credentials."""


@dataclass(frozen=True)
class Settings:
    """The content of settings.json, which `up` writes so that later commands find the same servers."""

    prefect_port: int = 4200
    mlflow_port: int = 5000
    postgres_port: int = 5442
    database: str = ""
    """Either postgres or sqlite, chosen by the first `up` and then kept, because the data are in it."""
    artifacts: str = ""
    """MLflow's place for artifacts, s3://bucket/prefix; empty: the folder of the servers."""
    watch: str = ""
    """The file of settings with the cameras that are watched (docs/watch.md); empty: none are."""
    watch_port: int = 8780


@dataclass(frozen=True)
class Home:
    """The folder `.services` of the project `root`."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root.resolve() / servers.FOLDER

    @property
    def settings(self) -> Path:
        return self.folder / servers.SETTINGS

    @property
    def secrets(self) -> Path:
        return self.folder / servers.SECRETS

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Create the folder, which other users cannot read."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)


def load(home: Home, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of settings.json, overridden by SLIMSTREAM_PREFECT_PORT and so on in `environ`.

    Raises UserError for an invalid file, port, database or place for artifacts.
    """
    known = {field.name: field.type for field in fields(Settings)}
    try:
        found = json.loads(home.settings.read_text()) if home.settings.exists() else {}
        settings = Settings(**found)
    except (ValueError, TypeError):
        raise UserError(
            f"{home.settings} is not what `make up` wrote; it holds {', '.join(known)}."
        ) from None
    for name in known:
        variable = f"SLIMSTREAM_{name.upper()}"
        if value := (environ or {}).get(variable):
            changed: dict[str, Any] = {name: value if known[name] is str else _port(variable, value)}
            settings = replace(settings, **changed)
    if settings.database not in ("", "postgres", "sqlite"):
        raise UserError(f"SLIMSTREAM_DATABASE is {settings.database!r}; it may be postgres or sqlite.")
    if not re.fullmatch(r"(s3://[^/@?#]+(/[^@?#]*)?)?", settings.artifacts):
        raise UserError(
            "SLIMSTREAM_ARTIFACTS may be s3://bucket/prefix and nothing else; "
            "credentials belong in the environment or secrets.env."
        )
    return settings


def save(home: Home, settings: Settings) -> None:
    """Write settings.json."""
    write(home.settings, json.dumps(asdict(settings), indent=2) + "\n")


def load_secrets(home: Home) -> dict[str, str]:
    """The variables of secrets.env: passwords, which are created when there is no file, and AWS_… for S3.

    After an edit of the file the servers use its values from their next start. Raises UserError when a
    password is missing.
    """
    if not home.secrets.exists():
        made = {
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(24),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32),
            "PREFECT_API_AUTH_STRING": f"{USER}:{secrets.token_urlsafe(24)}",
            "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        }
        write(home.secrets, _HEAD + "".join(f"{name}={value}\n" for name, value in made.items()))
    home.secrets.chmod(0o600)
    found = read_variables(home.secrets)
    if missing := [name for name in _NAMES if not found.get(name)]:
        raise UserError(f"{home.secrets} lacks {missing[0]}; mend it, or `make down` and delete it.")
    return {name: found[name] for name in (*_NAMES, *_OPTIONAL) if found.get(name)} | storage(found)


def unknown_names(home: Home) -> list[str]:
    """Names in secrets.env that nothing reads, perhaps because they are mistyped."""
    known = {*_NAMES, *_OPTIONAL}
    found = read_variables(home.secrets) if home.secrets.exists() else {}
    return [name for name in found if name not in known and not name.startswith(STORAGE)]


def storage(secrets: Mapping[str, str]) -> dict[str, str]:
    """The secrets for S3: those with the prefix STORAGE."""
    return {name: value for name, value in secrets.items() if name.startswith(STORAGE)}


def check_free(port: int, title: str, variable: str) -> None:
    """Raise UserError, which names the server `title` and the setting `variable`, when `port` is in use."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"Port {port}, meant for {title}, cannot be had ({error.strerror}); "
                f"stop the program that has it or choose another with {variable}."
            ) from None


def _port(variable: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise UserError(f"{variable} is {value!r}; it must be a port, 1 to 65535.")
    return int(value)


def write(file: Path, text: str) -> None:
    """Replace `file` atomically; only the present user can read it."""
    aside = file.with_name(file.name + ".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    aside.replace(file)


_NAMES = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "PREFECT_API_AUTH_STRING",
    "POSTGRES_PASSWORD",
)
WATCH = (PASSWORD, MQTT_USER, MQTT_PASSWORD)
_OPTIONAL = (WEBHOOK, *WATCH)
_HEAD = """\
# Made by `make up`. Who reads this may do everything: keep it out of mails and repositories.
# To log in at either server take user and password from here; docs/operations.md says how to change them.
# AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY may be added, for what lies on S3.
"""
