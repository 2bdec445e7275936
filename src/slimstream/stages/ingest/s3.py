"""Clips in a bucket of any S3-compatible server. Credentials come from boto3's usual places.

boto3 is slow to import; `sources` imports this module only when the source is a bucket.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore import exceptions as aws
from botocore import httpchecksum
from botocore.config import Config
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError
from s3transfer.futures import TransferFuture
from s3transfer.subscribers import BaseSubscriber

from slimstream.catalog.listing import FileStat, Listing, find_metadata, label_files
from slimstream.core.errors import Unavailable, UserError
from slimstream.stages.ingest.params import holds_credentials
from slimstream.stages.ingest.sources import FetchError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

File = io.BufferedRandom | io.BytesIO
RANGE = 1 << 20
"""Bytes per request; at most this much is lost when a connection breaks."""
TRIES = 4
"""Attempts for a range whose transfer breaks, and for an object whose bytes differ from the listing."""
PATIENCE = 6
"""Attempts for a request when the server does not answer or asks to slow down: about fifteen seconds."""
SILENCE = 60
"""Seconds without a byte after which a connection counts as broken."""
CHECKSUMS = {
    "ChecksumSHA256": httpchecksum.Sha256Checksum,
    "ChecksumSHA1": httpchecksum.Sha1Checksum,
    "ChecksumCRC32": httpchecksum.Crc32Checksum,
}
"""Checksums in the answer to HEAD, with the class that computes each."""


class S3Source:
    """The objects below s3://bucket/prefix. `endpoint_url` None means AWS_ENDPOINT_URL or AWS itself.

    Raises UserError for a `uri` of another form or one that holds credentials.
    """

    workers = 8

    def __init__(self, uri: str, endpoint_url: str | None = None) -> None:
        # Not parsed as a URL: #, ? and % are ordinary characters of a key.
        parts = re.fullmatch(r"s3://([^/]+)(/.*)?", uri, re.DOTALL)
        if not parts or holds_credentials(uri):
            raise UserError(
                "an S3 source is s3://bucket/prefix and nothing else: credentials belong in the environment."
            )
        self.uri, self.bucket, self.prefix = uri, parts[1], (parts[2] or "").strip("/")
        self._below = f"{self.prefix}/" if self.prefix else ""
        self.client = _client(endpoint_url)
        one_at_a_time = TransferConfig(
            multipart_threshold=1,  # everything in ranges: only these are sent with If-Match
            multipart_chunksize=RANGE,
            num_download_attempts=TRIES,
            use_threads=False,  # `workers` threads of the stage are enough
            preferred_transfer_client="classic",
        )
        self._transfers = create_transfer_manager(self.client, one_at_a_time)
        self.server = self.client.meta.endpoint_url
        self.name = f"{self.server} {self.bucket}/{self.prefix}"

    def list(self) -> Listing:
        files = {}
        with self._explain_errors():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._below
            )
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._below)
                    if key and not key.endswith("/"):
                        files[key] = FileStat(found["Size"], found["ETag"].strip('"'))
        table = io.BytesIO()
        if name := find_metadata(files, self.uri):
            try:
                self._copy(name, files[name], table)
            except FetchError as error:
                raise Unavailable(f"{self.uri}/{name}: {error}.") from error
        return label_files(files, table.getvalue() if name else None, self.uri)

    def check(self) -> None:
        """List one name, so that problems with server, bucket or credentials are reported early.

        Raises UserError or Unavailable.
        """
        with self._explain_errors():
            self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._below, MaxKeys=1)

    def outdated(self, listing: Listing) -> bool:
        return False

    def fetch(self, key: str, stat: FileStat, target: Path) -> None:
        with target.open("w+b") as file:
            self._copy(key, stat, file)

    def _copy(self, key: str, stat: FileStat, file: File) -> None:
        """Write the object to `file`, range by range; a range whose transfer breaks is requested again.

        Raises FetchError for an object that differs from the listing, and Unavailable when the transfer of a
        range broke TRIES times.
        """
        for _ in range(TRIES):
            file.truncate(file.seek(0))
            with self._explain_errors(key):
                fault = self._download(key, stat, file)
            if not fault:
                return
        raise FetchError(f"fetched {TRIES} times, and each time {fault}")

    def _download(self, key: str, stat: FileStat, file: File) -> str:
        """Fetch the object once. Returns how its bytes differ from the listing; "" when they do not."""
        listed, name = _Listed(stat), self._below + key
        try:
            self._transfers.download(self.bucket, name, file, subscribers=[listed]).result()
        except RetriesExceededError as error:
            reason = " ".join(str(error.last_exception).split())
            raise Unavailable(
                f"{self._where(key)}: the transfer broke {TRIES} times at byte {listed.came} ({reason}); "
                "try again, what was fetched is kept."
            ) from error
        except aws.FlexibleChecksumError:
            return "the bytes do not fit the checksum"
        except S3ValidationError:
            return "another range came than was asked for"
        # The ETag of an object that was uploaded in one part is its MD5.
        if listed.came == stat.size and _md5(file) == stat.etag:
            return ""
        there: Mapping[str, Any] = self.client.head_object(
            Bucket=self.bucket, Key=name, ChecksumMode="ENABLED"
        )
        if there["ETag"].strip('"') != stat.etag:  # not every server supports If-Match
            raise FetchError(_OF_ONE_OBJECT["412"])
        if listed.came != stat.size:
            return f"{listed.came} bytes came, {stat.size} were listed"
        if "-" not in stat.etag and there.get("ServerSideEncryption", "AES256") == "AES256":
            return "the bytes do not fit the ETag"
        file.seek(0)
        for field, checksum in CHECKSUMS.items():
            # A value with a hyphen is a checksum of the checksums of parts.
            if "-" not in there.get(field, "-") and checksum().handle(file) != there[field]:
                return "the bytes do not fit the checksum"
        return ""

    def _where(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._below}{key}".rstrip("/") + f" at {self.server}"

    @contextmanager
    def _explain_errors(self, key: str = "") -> Iterator[None]:
        """Turn errors of server, network or credentials into one sentence that contains no secret.

        Raises FetchError for a problem of the object `key` only, Unavailable for one that may pass, and
        UserError for all others.
        """
        where = self._where(key)
        try:
            yield
        except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
            reason = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            raise UserError(f"{where}: {reason}.") from error
        except (aws.HTTPClientError, aws.ConnectionError) as error:  # wrong address, no network, TLS
            reason = "the server does not answer; check ingest.endpoint_url, AWS_ENDPOINT_URL and the network"
            raise Unavailable(f"{where}: {reason}.") from error
        except S3DownloadFailedError as error:
            raise FetchError(_OF_ONE_OBJECT["412"]) from error
        except aws.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if key and code in _OF_ONE_OBJECT:
                raise FetchError(_OF_ONE_OBJECT[code]) from error
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status >= 500 or status == 429:
                reason = f"the server is busy or out of order ({code}); try again, what was fetched is kept"
                raise Unavailable(f"{where}: {reason}.") from error
            raise UserError(f"{where}: {_REASONS.get(code, f'the server says {code}')}.") from error
        except aws.ParamValidationError as error:
            raise UserError(f"{where}: '{self.bucket}' cannot be the name of a bucket.") from error
        except aws.BotoCoreError as error:
            raise UserError(f"{where}: {' '.join(str(error).split())}") from error


class _Listed(BaseSubscriber):
    """Requests every range of one transfer with the listed size and ETag, and counts the bytes."""

    def __init__(self, stat: FileStat) -> None:
        self._stat = stat
        self.came = 0
        """Bytes received; those of a range whose transfer broke are subtracted."""

    def on_queued(self, future: TransferFuture, **_: object) -> None:
        future.meta.provide_transfer_size(self._stat.size)  # with both known, s3transfer sends no HEAD
        future.meta.provide_object_etag(f'"{self._stat.etag}"')  # sent as If-Match

    def on_progress(self, future: TransferFuture, bytes_transferred: int, **_: object) -> None:
        self.came += bytes_transferred


_ADDRESS = "What ingest.endpoint_url or AWS_ENDPOINT_URL says"
_OF_ONE_OBJECT = {
    "NoSuchKey": "the file is missing",
    "404": "the file is missing",
    "PreconditionFailed": "changed since the scan; scan again",
    "412": "changed since the scan; scan again",
    "InvalidObjectState": "archived by the server; have it restored and scan again",
    "InvalidRequest": "the server does not take the name",
}
"""Error codes that concern one object only; the others are still fetched."""
_REASONS = {
    "NoSuchBucket": "there is no such bucket; check the source",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
    "InvalidAccessKeyId": "the access key is unknown; check AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the credentials have expired; get new ones",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
    "AccessDenied": "these credentials may not read it; ask for read and list permission",
    "403": "these credentials may not read it; ask for read and list permission",
}


def _md5(file: File) -> str:
    file.seek(0)
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _give_up(exception: Exception, **_: object) -> None:
    """Stop s3transfer from retrying a server that does not answer: botocore has tried PATIENCE times."""
    if isinstance(exception, aws.ReadTimeoutError):
        raise aws.HTTPClientError(error=exception) from exception


def _client(endpoint_url: str | None) -> "S3Client":
    patience = Config(
        connect_timeout=10,
        read_timeout=SILENCE,
        retries={"mode": "standard", "total_max_attempts": PATIENCE},
        max_pool_connections=S3Source.workers,
    )
    try:
        client = boto3.session.Session().client("s3", endpoint_url=endpoint_url, config=patience)
    except ValueError as error:
        raise UserError(
            f"{_ADDRESS} is no address of an S3 server; give one like https://host:port."
        ) from error
    except aws.BotoCoreError as error:
        raise UserError(f"S3: {' '.join(str(error).split())}; check the AWS configuration.") from error
    client.meta.events.register("after-call-error.s3", _give_up)
    if "@" in client.meta.endpoint_url:  # error messages show the address
        raise UserError(f"{_ADDRESS} holds credentials; give them as AWS_ACCESS_KEY_ID and so on.")
    return client
