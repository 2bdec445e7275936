"""Behind a company's proxy: what this machine asks of itself reaches it."""

import importlib
import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from slimstream.cli.parser import main
from slimstream.core import proxy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OURS = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_loopback_goes_past_whichever_proxy_is_named(name: str) -> None:
    environ = {name: "http://proxy.example:3128"}
    proxy.bypass_for_loopback(environ)
    assert environ == {name: "http://proxy.example:3128", "NO_PROXY": OURS, "no_proxy": OURS}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"NO_PROXY": "a.example"}, {"NO_PROXY": f"a.example,{OURS}", "no_proxy": f"a.example,{OURS}"}),
        ({"no_proxy": "a.example"}, {"NO_PROXY": f"a.example,{OURS}", "no_proxy": f"a.example,{OURS}"}),
        # Each spelling has its readers: they keep what was meant for them.
        ({"NO_PROXY": "a", "no_proxy": "b, localhost"}, {"NO_PROXY": f"a,{OURS}"} | {
            "no_proxy": "b,localhost,127.0.0.1,::1"
        }),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*"}),
    ],
)  # fmt: skip
def test_what_the_user_named_stays(before: dict[str, str], after: dict[str, str]) -> None:
    environ = {"HTTP_PROXY": "http://proxy.example:3128", **before}
    proxy.bypass_for_loopback(environ)
    proxy.bypass_for_loopback(environ)  # a child of ours does it again
    assert environ == {"HTTP_PROXY": "http://proxy.example:3128", **after}


@pytest.mark.parametrize("environ", [{}, {"NO_PROXY": "a.example"}, {"HTTP_PROXY": ""}, {"PATH": "/bin"}])
def test_without_a_proxy_nothing_changes(environ: dict[str, str]) -> None:
    before = dict(environ)
    proxy.bypass_for_loopback(environ)
    assert environ == before


def test_a_socks_proxy_that_nothing_here_can_use_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "find_spec", lambda name: None)
    environ = {"ALL_PROXY": "socks5://proxy.example:1080", "HTTP_PROXY": "http://proxy.example:3128"}
    proxy.bypass_for_loopback(environ)
    assert "ALL_PROXY" not in environ and environ["NO_PROXY"] == OURS


class Empty(BaseHTTPRequestHandler):
    """As an MLflow server answers that holds nothing yet."""

    def do_GET(self) -> None:
        empty = "/search" in self.path
        answer = {} if empty else {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is none"}
        self.send_response(200 if empty else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mlflow_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_mlflow_on_this_machine_is_reached(
    mlflow_server: str,
    company_proxy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert main(["--root", str(tmp_path), "versions", "--name", "tank"]) == 0
    assert "Nothing is registered yet" in capsys.readouterr().out


def test_s3_on_this_machine_is_reached(
    s3: "S3Client", company_proxy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.put_object(Bucket="plant", Key="on/1.avi", Body=b"a clip")
    (tmp_path / "params.yaml").write_text("ingest: {source: 's3://plant'}")
    assert main(["--root", str(tmp_path), "scan"]) == 0
    assert "1 clips" in capsys.readouterr().out


def test_a_program_that_imports_the_flows_is_ready(company_proxy: str) -> None:
    """Prefect's client reads the environment when it is made: importing the package is early enough."""
    import flows

    importlib.reload(flows)
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == f"plant.example,{OURS}"
