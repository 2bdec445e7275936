"""A real S3 server (SeaweedFS) on loopback, and a proxy in front of it that breaks what it should."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from tests.ports import free_ports

WEED = Path(sys.executable).with_name("weed")
PORTS = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
KEY, SECRET = "test-key", "test-secret"


def environment(address: str) -> dict[str, str]:
    """All that boto3, DVC and MLflow need to know of a server, and nothing of this machine's user."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere",  # DVC opens whatever is there
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    }


@contextmanager
def serve(folder: Path, ports: Sequence[int] = ()) -> Iterator[str]:
    """The address of a server that knows one pair of keys and keeps its data in `folder`.

    It is killed (-9) in the end; with the same folder and ports (one each of PORTS) it is there again.
    """
    actions = ["Admin", "Read", "Write", "List"]
    identity = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    at = dict(zip(PORTS, ports or free_ports(len(PORTS)), strict=True))
    command = [
        *(str(WEED), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3"),
        *(
            f"-s3.config={folder / 's3.json'}",
            "-s3.port.iceberg=0",  # these two would listen at a port of their own choice
            "-s3.port.lance=0",
            # A bucket takes seven volumes at once: many small ones fit where there is little room.
            "-master.volumeSizeLimitMB=64",
            "-volume.max=50",
            "-master.telemetry=false",
            "-master.electionTimeout=1s",  # it is alone
        ),
        *(f"-{name}={port}" for name, port in at.items()),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{at['s3.port']}"
        _wait_for(address, process, folder / "log")
        yield address
    finally:
        process.kill()  # it is one process
        process.wait()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server takes an object, which needs more of it than answering."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    for _ in range(300):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="x", Body=b"x")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


Fault = int | None
"""Bytes of an answer after which the connection is cut; -1: 503 SlowDown instead of an answer."""
SLOW_DOWN = -1


class Proxy(ThreadingHTTPServer):
    """Passes GET and HEAD requests on to a server; `fault` says of each what becomes of the answer."""

    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = urlsplit(server).netloc
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str | None]] = []
        """Path and Range of every GET request."""
        self.fault: Callable[[str], Fault] = lambda path: None
        self.rewrite: Callable[[str, bytes], bytes] = lambda path, answer: answer

    def handle_error(self, request: object, client_address: object) -> None:
        """The server behind may be dead: then the client learns it from the closed connection."""

    def faults(self, *wanted: Fault, key: str = "") -> None:
        """The first requests whose path ends with `key` come to these, later ones to nothing."""
        left = list(wanted)
        self.fault = lambda path: left.pop(0) if left and path.endswith(key) else None


@contextmanager
def proxy(server: str) -> Iterator[Proxy]:
    with Proxy(server) as found:
        thread = Thread(target=found.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_HEAD(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        path = urlsplit(self.path).path
        if self.command == "GET":
            self.server.asked.append((path, self.headers.get("Range")))
        fault = self.server.fault(path)
        if fault == SLOW_DOWN:
            self._answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>")
            return
        upstream = http.client.HTTPConnection(self.server.server)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # unchanged, the host too: they are signed
            upstream.putheader(name, value)
        upstream.endheaders()
        answer = upstream.getresponse()
        body = self.server.rewrite(path, answer.read())
        self._answer(answer.status, body, answer.getheaders(), fault)
        upstream.close()

    def _answer(
        self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None, cut: int | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers or []:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *args: object) -> None:
        pass
