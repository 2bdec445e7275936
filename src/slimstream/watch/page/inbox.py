"""The page of the inbox: what it shows, and what a person decides on it. Only pages of this server decide."""

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from slimstream.core.errors import UserError
from slimstream.watch.inbox.desk import Desk
from slimstream.watch.page.parts import read_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

FILES = {"inbox.css": "text/css", "inbox.js": "text/javascript"}


class Decision(BaseModel):
    """What a person says of a window."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["label", "dismiss", "undo"]
    state: str = Field("", max_length=200)


def is_same_site(headers: "Mapping[str, str]") -> bool:
    """Whether a request that changes something comes from a page of this server, by what browsers send.

    A page of another site cannot send JSON without being asked first, which this server does not answer; and
    browsers say where a request comes from: in Sec-Fetch-Site, or where the address is not a safe one, in
    Origin. A program has to send one of them, too.
    """
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return False
    if (site := headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    return urlsplit(headers.get("origin", "")).netloc.lower() == headers.get("host", "").lower() != ""


def add_inbox(app: "FastAPI", desk: Desk) -> None:
    """Add the page, its data and its decisions to `app`."""
    from fastapi import HTTPException, Request, Response
    from fastapi.responses import FileResponse

    @app.get("/inbox")
    def inbox_page() -> Response:
        return Response(read_part("inbox.html"), media_type="text/html")

    @app.get("/inbox.{kind}")
    def inbox_part(kind: str) -> Response:
        if (name := f"inbox.{kind}") not in FILES:
            raise HTTPException(404)
        return Response(read_part(name), media_type=FILES[name])

    @app.get("/inbox/items")
    def items() -> dict[str, Any]:
        try:
            return desk.shown()
        except UserError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/inbox/clips/{id}")
    def inbox_clip(id: str) -> FileResponse:
        try:
            file = desk.clip(id)  # of a known id, so no path leaves the folder
        except (KeyError, OSError, ValueError) as error:
            raise HTTPException(404) from error
        if not file.is_file():
            raise HTTPException(404)
        return FileResponse(file)

    @app.post("/inbox/items/{id}")
    def decide(id: str, decision: Decision, request: Request) -> dict[str, Any]:
        if not is_same_site(request.headers):
            raise HTTPException(403, "Only the page of this server decides.")
        try:
            if decision.action == "label":
                desk.label(id, decision.state)
            elif decision.action == "dismiss":
                desk.dismiss(id)
            else:
                desk.undo(id)
        except KeyError as error:
            raise HTTPException(404, "It is not there any more.") from error
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        except OSError as error:
            raise HTTPException(507, f"It cannot be written: {error.strerror}.") from error
        return desk.shown()
