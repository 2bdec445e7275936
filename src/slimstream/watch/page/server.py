"""The HTTP server of `watch`: the page, its data, pictures, clips and metrics.

It only answers questions, but for the inbox, whose decisions `page.inbox` takes.
"""

import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

from slimstream.core.errors import UserError
from slimstream.core.proxy import LOOPBACK
from slimstream.tracking.servers import HOST
from slimstream.watch.metrics import WatchCollector
from slimstream.watch.page.inbox import add_inbox
from slimstream.watch.page.parts import read_part
from slimstream.watch.secrets import PASSWORD
from slimstream.watch.watcher import Watcher

if TYPE_CHECKING:
    from fastapi import FastAPI

USER = "admin"
"""The name of the user, as at the servers of `make up`."""
FILES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def make_app(watcher: Watcher, hosts: list[str], password: str | None) -> "FastAPI":
    """The application. `hosts` are the names that it answers to; a `password` is asked for everywhere."""
    from fastapi import Depends, FastAPI, HTTPException, Request, Response
    from fastapi.responses import FileResponse
    from fastapi.security import HTTPBasic, HTTPBasicCredentials
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    def check(login: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="slimstream"))]) -> None:
        right = secrets.compare_digest(login.username.encode(), USER.encode())
        right &= secrets.compare_digest(login.password.encode(), (password or "").encode())
        if not right:
            raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="slimstream"'})

    asked = [Depends(check)] if password else []
    app = FastAPI(dependencies=asked, docs_url=None, redoc_url=None, openapi_url=None)
    # A page of another site cannot reach this one by a name of its own that leads to loopback.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    metrics = CollectorRegistry(auto_describe=False)
    metrics.register(WatchCollector(watcher.snapshot))

    @app.middleware("http")
    async def add_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers.update(HEADERS)
        return response

    def page_file(name: str) -> Response:
        return Response(read_part(name), media_type=FILES[name])

    @app.get("/")
    def page() -> Response:
        return page_file("page.html")

    @app.get("/page.{kind}")
    def part(kind: str) -> Response:
        if (name := f"page.{kind}") not in FILES:
            raise HTTPException(404)
        return page_file(name)

    @app.get("/state")
    def state() -> dict[str, Any]:
        return watcher.snapshot()

    @app.get("/pictures/{camera}")
    def picture(camera: str) -> Response:
        known = watcher.cameras.get(camera)
        if known is None or (jpeg := known.film.last) is None:
            raise HTTPException(404)
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    @app.get("/clips/{name}")
    def clip(name: str) -> FileResponse:
        if name not in {event.clip for event in list(watcher.outbox.recent)}:  # so no path leaves the folder
            raise HTTPException(404)
        if not (file := watcher.clips.folder / name).is_file():
            raise HTTPException(404)
        return FileResponse(file, media_type="video/mp4")

    if watcher.desk:
        add_inbox(app, watcher.desk)

    @app.get("/metrics")
    def metrics_page() -> Response:
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    return app


@contextmanager
def serving(watcher: Watcher, host: str, port: int, password: str | None) -> Iterator[str]:
    """Serve the page while the block runs; yields its address. `port` 0 takes a free one.

    Raises UserError when the port is taken, and where other computers could reach a page without password.
    """
    import uvicorn

    local = host in LOOPBACK
    if not local and not password:
        raise UserError(
            f"--host {host} lets other computers see the page: set {PASSWORD} in the environment or in "
            "secrets.env of `make up`."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"port {port} of {host} cannot be had ({os.strerror(error.errno or 0)}): choose another, --port."
        ) from error
    app = make_app(watcher, [*LOOPBACK, "[::1]"] if local else ["*"], password)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name="page", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST if local else host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)
        listening.close()
