"""Settings of `watch`: a YAML file of the operator, such as watch.yaml. All have defaults."""

import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from slimstream.core.errors import UserError
from slimstream.core.schema import Fraction, Section, load
from slimstream.tracking.servers import FOLDER, SECRETS
from slimstream.watch.secrets import secret, shown

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Names of cameras are parts of addresses, topics and file names."""
VARIABLE = r"\$\{(\w+)\}"
Answers = Annotated[int, Field(ge=1)]


class CameraParams(Section):
    """One camera."""

    source: str = Field(
        min_length=1,
        description="a video or picture file, a folder that fills, rtsp://…, http://…, /dev/video0 or "
        "rig://NUMBER; ${NAME} stands for a variable of the environment or of .services/secrets.env, so that "
        "no password is written here",
    )
    region: tuple[Fraction, Fraction, Fraction, Fraction] = Field(
        (0.0, 0.0, 1.0, 1.0),
        description="left, top, right and bottom of what the network sees, as shares of the picture",
    )
    fps: float | None = Field(
        None, gt=0, description="frames per second that are looked at, as of the clips learnt from; null: all"
    )

    @model_validator(mode="after")
    def has_an_area(self) -> Self:
        left, top, right, bottom = self.region
        if left >= right or top >= bottom:
            raise ValueError("region is left, top, right, bottom, with left < right and top < bottom")
        return self


class MqttParams(Section):
    """An MQTT broker; user and password are in SLIMSTREAM_MQTT_USER and SLIMSTREAM_MQTT_PASSWORD."""

    host: str = Field(description="name or address of the broker")
    port: int = Field(1883, ge=1, le=65535, description="port of the broker; 8883 is usual with TLS")
    tls: bool = Field(False, description="encrypt, and check the broker's certificate")
    ca: Path | None = Field(
        None, description="certificates that may have signed the broker's; null: the system's"
    )
    prefix: str = Field("slimstream", pattern=NAME, description="first part of every topic")
    discovery: str | None = Field(
        "homeassistant", description="first part of the topics that Home Assistant looks at; null: none"
    )


class InboxParams(Section):
    """Doubtful windows that are kept to be labelled."""

    per_day: int = Field(20, ge=0, description="windows kept a day and camera; 0: there is no inbox")
    most: int = Field(500, ge=1, description="windows kept in all, those that were labelled not counted")
    gigabytes: float = Field(2.0, gt=0, description="the same by the bytes of their clips")
    margin: Fraction = Field(
        0.2, description="the two best probabilities of an uncertain window differ by less than this"
    )


class WatchParams(Section):
    """Everything about `watch`."""

    cameras: dict[Annotated[str, Field(pattern=NAME)], CameraParams] = Field(
        {}, description="cameras by name"
    )
    model: str | None = Field(
        None, description="what answers, as --model, which has priority; null: the champion of params.yaml"
    )
    hop: float = Field(1.0, gt=0, description="seconds from one window to the next")
    window: float | None = Field(
        None,
        gt=0,
        description="seconds of a window; null: as long as the clips that the version learnt from",
    )
    agree: Answers = Field(3, description="successive equal answers that change a state")
    agree_for: dict[str, Answers] = Field({}, description="the same for single states, by name")
    folder: Path = Field(Path("watched"), description="where events and their clips are kept")
    clips: int = Field(500, ge=0, description="number of clips of events kept; older ones are deleted")
    clip_seconds: float = Field(10.0, gt=0, le=60, description="length of the clip of an event")
    inbox: InboxParams = InboxParams()
    drift: bool = Field(True, description="say when a camera shows something else than before")
    mqtt: MqttParams | None = Field(None, description="where events and states are published; null: nowhere")


def load_settings(file: Path | None, sources: Sequence[str]) -> WatchParams:
    """The settings of `file` (None: the defaults), with the cameras `sources` instead of those in it, if any.

    Raises UserError for an invalid file, and where there is no camera at all.
    """
    params = load(file, WatchParams, "--settings names it") if file else WatchParams()
    if sources:
        named: dict[str, CameraParams] = {}
        for source in sources:
            named[_unused(camera_name(source), named)] = CameraParams(source=source)
        params = params.model_copy(update={"cameras": named})
    if not params.cameras:
        raise UserError("there is nothing to watch: name a source, or cameras in the file of --settings.")
    return params


def camera_name(source: str) -> str:
    """A name for a camera that has none, from its address without user, password and query."""
    scheme, there, place = shown(source).rpartition("://")
    named = re.sub(r":\d+(?=/|$)", "", place) if there else Path(place).stem
    if scheme == "rig":
        named = f"rig-{named}"
    return re.sub(r"[^A-Za-z0-9_]+", "-", named).strip("-_") or "camera"


def expand(source: str, root: Path) -> str:
    """`source` with the values of the variables it names: see `secret`. Raises UserError if one is not set.

    In a user or password, characters that an address may not have there are written with % and their code.
    """
    values = {name: secret(name, root) for name in re.findall(VARIABLE, source)}
    if missing := [name for name, found in values.items() if found is None]:
        raise UserError(
            f"a source names ${{{missing[0]}}}, which is not in the environment, nor in {FOLDER}/{SECRETS}."
        )
    login, at, place = source.rpartition("@")

    def value(found: re.Match[str]) -> str:
        return values[found[1]] or ""

    quoted = re.sub(VARIABLE, lambda found: quote(value(found), safe=":%@"), login)
    return quoted + at + re.sub(VARIABLE, value, place)


def _unused(name: str, used: dict[str, CameraParams]) -> str:
    tried = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(name for name in tried if name not in used)
