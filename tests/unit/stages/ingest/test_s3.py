"""A real S3 server (SeaweedFS) on loopback: list, fetch, ingest, and what may go wrong on the way."""

import base64
import os
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest

from slimstream.catalog.listing import FileStat
from slimstream.catalog.manifest import read_manifest
from slimstream.cli.parser import main
from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.s3 import RANGE, S3Source
from slimstream.stages.ingest.scan import read_lock, scan
from slimstream.stages.ingest.sources import FetchError
from tests.ports import free_port
from tests.seaweedfs import SECRET, SLOW_DOWN, Proxy, proxy, serve
from tests.unit.clips.rendered_clips import write_video

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PARAMS = Params(ingest=IngestParams(source="s3://plant/clips"))


@pytest.fixture
def clips(tmp_path: Path, s3: "S3Client") -> "S3Client":
    """Three clips below plant/clips, in two classes, one with a name that is not ASCII."""
    for index, key in enumerate(("on/1.avi", "on/Überlauf 2.avi", "off/3.avi")):
        pictures = np.random.default_rng(index).integers(0, 255, (4, 24, 32, 3), np.uint8)
        s3.upload_file(str(write_video(tmp_path / f"{index}.avi", pictures)), "plant", f"clips/{key}")
    return s3


def run(root: Path) -> dict[str, float]:
    return STAGES["ingest"].run(PARAMS, Paths(root), null_log)


def problems(root: Path) -> dict[str, str]:
    return read_manifest(Paths(root).manifest).set_index("key")["problem"].to_dict()


def test_scan_and_ingest_fetch_once(clips: "S3Client", tmp_path: Path) -> None:
    found = scan(PARAMS.ingest, [], Paths(tmp_path))
    assert found.new == ["off/3.avi", "on/1.avi", "on/Überlauf 2.avi"]
    assert run(tmp_path) | {"bytes": 0} == {"clips": 3, "bytes": 0, "fetched": 3, "reused": 0, "problems": 0}
    table = read_manifest(Paths(tmp_path).manifest).set_index("key")
    raw = tmp_path / "data/ingested" / table.loc["on/Überlauf 2.avi", "path"]
    assert raw.read_bytes() == (tmp_path / "1.avi").read_bytes()
    shutil.rmtree(tmp_path / "data")
    assert not scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path)).differs
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


def test_clutter_is_skipped_and_counted_as_in_a_folder(clips: "S3Client") -> None:
    for key in ("on/._1.avi", "__MACOSX/on/._1.avi", "__MACOSX/on/._2.avi", "on/notes.txt"):
        clips.put_object(Bucket="plant", Key=f"clips/{key}", Body=b"")
    listing = S3Source("s3://plant/clips").list()
    assert len(listing.items) == 3 and not listing.rejected
    assert listing.skipped == {"hidden or system": 2, ".txt": 1}


@pytest.mark.parametrize(
    "prefix", ["run #1", "why?", "why?not=this", "100%", "%41", "a+b c", "x & y=z", "Bob's", "ä/[1]", "a@b:c"]
)
def test_a_prefix_may_be_made_of_anything(s3: "S3Client", tmp_path: Path, prefix: str) -> None:
    s3.put_object(Bucket="plant", Key=f"{prefix}/on #/1?.avi", Body=b"one clip")
    s3.put_object(Bucket="plant", Key=f"{prefix[:-1]}/off/2.avi", Body=b"of a neighbour")
    paths = Paths(tmp_path)
    assert scan(IngestParams(source=f"s3://plant/{prefix}"), [], paths).new == ["on #/1?.avi"]
    (item,) = read_lock(paths.source_lock).listing.items
    S3Source(f"s3://plant/{prefix}").fetch(item.key, item.stat, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"one clip" and item.label == "on #"


def test_the_whole_bucket_may_be_the_source(clips: "S3Client") -> None:
    assert {item.label for item in S3Source("s3://plant").list().items} == {"clips"}


def test_an_object_that_changed_or_went_is_a_problem(clips: "S3Client", tmp_path: Path) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path))
    clips.put_object(Bucket="plant", Key="clips/on/1.avi", Body=b"something else")
    clips.delete_object(Bucket="plant", Key="clips/off/3.avi")
    assert run(tmp_path)["problems"] == 2
    assert problems(tmp_path) == {
        "on/1.avi": "changed since the scan; scan again",
        "off/3.avi": "the file is missing",
        "on/Überlauf 2.avi": "",
    }
    assert scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path)).changed == ["on/1.avi"]


def test_an_object_of_several_parts_is_fetched(big: bytes, tmp_path: Path) -> None:
    source = S3Source("s3://plant/clips")
    (item,) = source.list().items
    assert "-" in item.stat.etag
    source.fetch(item.key, item.stat, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == big


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
        (
            {"AWS_ENDPOINT_URL": "nonsense"},
            "s3://plant",
            "says is no address of an S3 server",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://u:wrong-secret@plant"},
            "s3://plant",
            "says holds credentials; give",
        ),
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


def test_a_key_that_was_withdrawn_after_the_scan_is_one_sentence(
    clips: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(UserError, match=r"s3://plant/clips/o.+avi at .* the secret key is wrong") as caught:
        run(tmp_path)
    assert caught.value.status == 2 and "wrong-secret" not in str(caught.value)
    assert not list(Paths(tmp_path).store.rglob("*.avi"))


def test_a_server_that_does_not_answer_is_one_sentence(
    s3: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("slimstream.stages.ingest.s3.PATIENCE", 1)
    nobody = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"s3://plant at {nobody}: the server does not answer; check"):
        S3Source("s3://plant", nobody).list()
    with pytest.raises(Unavailable, match=r"s3://plant/on/1\.avi at .* the server does not answer"):
        S3Source("s3://plant", nobody).fetch("on/1.avi", FileStat(1, "etag"), tmp_path / "out")
    (tmp_path / "params.yaml").write_text(f"ingest: {{source: 's3://plant', endpoint_url: '{nobody}'}}\n")
    assert main(["--root", str(tmp_path), "scan"]) == 3  # a flow tries again
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def between(s3: "S3Client", s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that stands before the server; the environment names it."""
    with proxy(s3_server) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
        yield found


@pytest.fixture
def big(s3: "S3Client", tmp_path: Path) -> bytes:
    """plant/clips/on/big.avi: 6 MB, uploaded in two parts."""
    from boto3.s3.transfer import TransferConfig

    file = tmp_path / "big.avi"
    file.write_bytes(os.urandom(6 << 20))
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_file(str(file), "plant", "clips/on/big.avi", Config=parts)
    return file.read_bytes()


def test_a_range_that_broke_is_asked_for_again_and_no_other(
    between: Proxy, big: bytes, tmp_path: Path
) -> None:
    source = S3Source("s3://plant/clips")
    (item,) = source.list().items
    between.faults(None, None, 400_000, 0, 900_000, key="big.avi")  # one short of TRIES
    source.fetch(item.key, item.stat, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == big
    starts = [int(wanted[6:].split("-")[0]) for _, wanted in between.asked if wanted]
    assert starts == sorted([*range(0, len(big), RANGE), *[2 * RANGE] * 3])


def test_an_empty_object_is_fetched(s3: "S3Client", tmp_path: Path) -> None:
    s3.put_object(Bucket="plant", Key="on/1.avi", Body=b"")
    source = S3Source("s3://plant")
    (item,) = source.list().items
    source.fetch(item.key, item.stat, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b""


def test_another_range_than_was_asked_for_is_refused(s3: "S3Client", big: bytes, tmp_path: Path) -> None:
    source = S3Source("s3://plant/clips")
    (item,) = source.list().items

    def moved(parsed: dict[str, str], **_: object) -> None:
        parsed["ContentRange"] = f"bytes 5-{RANGE + 4}/{len(big)}"

    source.client.meta.events.register("after-call.s3.GetObject", moved)
    with pytest.raises(FetchError, match="each time another range came than was asked for"):
        source.fetch(item.key, item.stat, tmp_path / "out")


def test_bytes_that_do_not_fit_are_tried_again_and_then_refused(
    between: Proxy, clips: "S3Client", tmp_path: Path
) -> None:
    source = S3Source("s3://plant/clips")
    item = source.list().items[0]
    spoilt = 2

    def spoil(path: str, answer: bytes) -> bytes:
        nonlocal spoilt
        spoilt -= len(answer) > 0  # of HEAD there are none
        return b"x" * len(answer) if spoilt >= 0 else answer

    between.rewrite = spoil
    source.fetch(item.key, item.stat, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "2.avi").read_bytes()
    spoilt = 99
    with pytest.raises(FetchError, match="fetched 4 times, and each time the bytes do not fit the ETag"):
        source.fetch(item.key, item.stat, tmp_path / "out")


def test_an_answer_that_is_too_short_leaves_no_hole(between: Proxy, big: bytes, tmp_path: Path) -> None:
    """Nothing but the count tells: the ETag of an object of several parts is no MD5 of it."""
    source = S3Source("s3://plant/clips")
    (item,) = source.list().items
    between.rewrite = lambda path, answer: answer[:1000]
    with pytest.raises(FetchError, match="each time 6000 bytes came, 6291456 were listed"):
        source.fetch(item.key, item.stat, tmp_path / "out")


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({}, ""),
        ({"ChecksumCRC32": "crc"}, ""),
        ({"ChecksumCRC32": "AAAAAA=="}, "the bytes do not fit the checksum"),
        ({"ChecksumCRC32": "AAAAAA==-2"}, ""),  # of the checksums of two parts
        ({"ChecksumCRC32": "crc", "ChecksumSHA256": "AAAA"}, "the bytes do not fit the checksum"),
    ],
)
def test_the_checksum_of_a_whole_object_of_several_parts_is_compared(
    big: bytes, tmp_path: Path, told: dict[str, str], fault: str
) -> None:
    """SeaweedFS has only checksums of parts; AWS may have one of the whole."""
    source = S3Source("s3://plant/clips")
    (item,) = source.list().items
    whole = base64.b64encode(zlib.crc32(big).to_bytes(4, "big")).decode()

    def tell(parsed: dict[str, str], **_: object) -> None:
        parsed.pop("ChecksumCRC32", None)
        parsed.update({name: value.replace("crc", whole) for name, value in told.items()})

    source.client.meta.events.register("after-call.s3.HeadObject", tell)
    if fault:
        with pytest.raises(FetchError, match=fault):
            source.fetch(item.key, item.stat, tmp_path / "out")
    else:
        source.fetch(item.key, item.stat, tmp_path / "out")


def test_the_etag_of_an_encrypted_object_is_no_md5(between: Proxy, clips: "S3Client", tmp_path: Path) -> None:
    source = S3Source("s3://plant/clips")
    item = source.list().items[0]
    between.rewrite = lambda path, answer: b"x" * len(answer)  # so that no MD5 fits

    def tell(parsed: dict[str, str], **_: object) -> None:
        parsed.pop("ChecksumCRC32", None)
        parsed["ServerSideEncryption"] = "aws:kms"

    source.client.meta.events.register("after-call.s3.HeadObject", tell)
    source.fetch(item.key, item.stat, tmp_path / "out")


def test_a_server_that_is_silent_is_given_up_by_botocore_alone(
    s3: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3transfer would let it repeat its PATIENCE times a minute TRIES times."""
    monkeypatch.setattr("slimstream.stages.ingest.s3.PATIENCE", 1)
    monkeypatch.setattr("slimstream.stages.ingest.s3.SILENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        source = S3Source("s3://plant", f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(Unavailable, match="the server does not answer"):
            source.fetch("on/1.avi", FileStat(1, "etag"), tmp_path / "out")
        listening.setblocking(False)
        listening.accept()[0].close()
        with pytest.raises(BlockingIOError):  # nobody asked a second time
            listening.accept()


def test_a_link_that_stays_broken_stops_with_what_was_fetched(
    between: Proxy, clips: "S3Client", tmp_path: Path
) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path))
    between.fault = lambda path: 0 if path.endswith("/1.avi") else None
    with pytest.raises(Unavailable, match=r"plant/clips/on/1.avi at .*broke 4 times at byte 0 .* try again"):
        run(tmp_path)
    store = Paths(tmp_path).store
    assert not list((store / "tmp").iterdir()), "nothing half-written is left"
    kept = {path.read_bytes() for path in store.glob("??/*")}
    assert kept <= {(tmp_path / f"{number}.avi").read_bytes() for number in (1, 2)}
    between.fault = lambda path: None
    done = run(tmp_path)
    assert done["clips"] == 3 and done["reused"] >= 1


@pytest.mark.parametrize("knows_if_match", [True, False])
def test_an_object_that_changes_between_two_ranges_is_never_mixed(
    between: Proxy,
    s3: "S3Client",
    big: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    knows_if_match: bool,
) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path))

    def replaced(path: str, answer: bytes) -> bytes:
        if len(between.asked) == 3:
            s3.put_object(Bucket="plant", Key="clips/on/big.avi", Body=big[::-1])
        return answer

    between.asked.clear()
    between.rewrite = replaced
    if not knows_if_match:  # an empty one is as good as none
        monkeypatch.setattr(
            "slimstream.stages.ingest.s3._Listed.on_queued",
            lambda self, future, **_: (
                future.meta.provide_transfer_size(self._stat.size),
                future.meta.provide_object_etag(""),
            ),
        )
    assert run(tmp_path)["problems"] == 1
    assert problems(tmp_path) == {"on/big.avi": "changed since the scan; scan again"}
    assert not list(Paths(tmp_path).ingested.iterdir()) and not list(Paths(tmp_path).store.glob("??/*"))


def test_a_server_that_asks_to_slow_down_is_given_time(
    between: Proxy, clips: "S3Client", tmp_path: Path
) -> None:
    between.faults(SLOW_DOWN, SLOW_DOWN)
    scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path))
    between.faults(SLOW_DOWN, SLOW_DOWN, key="/3.avi")
    between.asked.clear()
    assert run(tmp_path)["clips"] == 3
    assert [path for path, _ in between.asked].count("/plant/clips/off/3.avi") == 3


def test_a_server_that_stays_busy_is_one_sentence(
    between: Proxy, clips: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimstream.stages.ingest.s3.PATIENCE", 2)
    scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path))
    between.fault = lambda path: SLOW_DOWN
    with pytest.raises(Unavailable, match=r"s3://plant/clips/.+avi at .* busy .*\(SlowDown\); try again"):
        run(tmp_path)


def test_a_table_that_breaks_is_read_to_its_end(between: Proxy, clips: "S3Client") -> None:
    text = "path,label\n" + "on/1.avi,x\n" * 20_000
    clips.put_object(Bucket="plant", Key="clips/metadata.csv", Body=text.encode())
    between.faults(100_000, key="metadata.csv")
    assert [item.label for item in S3Source("s3://plant/clips").list().items] == ["x"]
    assert len([path for path, _ in between.asked if path.endswith(".csv")]) == 2


def test_names_cannot_leave_the_folder(between: Proxy, clips: "S3Client", tmp_path: Path) -> None:
    """SeaweedFS takes no such keys, others do: the proxy renames what is listed."""
    body = (tmp_path / "1.avi").read_bytes()
    odd = ["on/~.avi", "on/a\nb.avi", "on/%2e%2e%2fc.avi", f"on/{'n' * 240}.avi"]
    for key in [*odd, *(f"on/evil{number}.avi" for number in range(4))]:
        clips.put_object(Bucket="plant", Key=f"clips/{key}", Body=body)
    evil = ["../evil0.avi", "on/../../evil1.avi", "/etc/evil2.avi", "on/evil3\\..\\x.avi"]

    def renamed(path: str, answer: bytes) -> bytes:
        for number, key in enumerate(evil):
            answer = answer.replace(f"on/evil{number}.avi".encode(), key.encode())
        return answer

    between.rewrite = renamed
    home = tmp_path / "deep/down/home"
    home.mkdir(parents=True)
    found = scan(PARAMS.ingest, PARAMS.split.group_by, Paths(home))
    assert found.rejected == dict.fromkeys(evil[:2], "the path leaves the source") | {
        evil[2]: "an absolute path, not one in the source"
    }
    done = run(home)
    assert (done["clips"], done["problems"]) == (3 + len(odd), 4)
    assert problems(home)[evil[3]] == "the server does not take the name"
    raw = Paths(home).ingested
    assert len([path for path in raw.iterdir() if path.is_file()]) == 3 + len(odd)
    assert sorted(path.name for path in (tmp_path / "deep").rglob("..*")) == []
    assert [path for path in tmp_path.joinpath("deep").rglob("*.avi") if home not in path.parents] == []


def test_a_server_that_is_killed_in_the_middle_costs_no_clip(
    s3: "S3Client", s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than three seconds: it starts a server, to kill it. After that another one has the same clips."""
    import boto3

    (tmp_path / "weed").mkdir()
    paths = Paths(tmp_path)
    bodies = {f"on/{number:02}.avi": os.urandom(1000) for number in range(12)}
    life = ExitStack()
    server = life.enter_context(serve(tmp_path / "weed"))
    with life, proxy(server) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        doomed = boto3.client("s3", endpoint_url=server)
        doomed.create_bucket(Bucket="plant")
        for client in (doomed, s3):
            for key, body in bodies.items():
                client.put_object(Bucket="plant", Key=f"clips/{key}", Body=body)
        scan(PARAMS.ingest, PARAMS.split.group_by, paths)

        def killed(path: str) -> None:
            if path.endswith("/09.avi"):  # asked for when two at least of eight workers are done with a clip
                life.close()

        between.fault = killed
        monkeypatch.setattr("slimstream.stages.ingest.s3.PATIENCE", 1)
        with pytest.raises(Unavailable, match="the server does not answer"):
            run(tmp_path)
        kept = {path.read_bytes() for path in paths.store.glob("??/*")}
        assert kept and kept < set(bodies.values()) and not list((paths.store / "tmp").iterdir())
        between.fault = lambda path: None
        between.server = urlsplit(s3_server).netloc
        done = run(tmp_path)
    assert done["reused"] and done["fetched"] + done["reused"] == len(bodies)
    assert {path.read_bytes() for path in paths.store.glob("??/*")} == set(bodies.values())
