"""Clips in a bucket: any server that speaks S3. Credentials come from boto3's usual places."""

import hashlib
import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.catalog.listing import Listing, Stat, arrange, table_of
from slimstream.core.errors import Unavailable, UserError
from slimstream.stages.ingest.params import holds_credentials
from slimstream.stages.ingest.sources import FetchError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

File = io.BufferedRandom | io.BytesIO
TRIES = 4
"""How often in a row an object is asked for when that brings nothing new."""
PATIENCE = 6
"""How often a request is sent when the server does not answer or asks to slow down: about fifteen seconds."""


class S3Source:
    """The objects below s3://bucket/prefix. `endpoint_url` None: AWS_ENDPOINT_URL or AWS itself."""

    workers = 8

    def __init__(self, uri: str, endpoint_url: str | None = None) -> None:
        # No URL: of a key, #, ? and % are letters like all others.
        parts = re.fullmatch(r"s3://([^/]+)(/.*)?", uri, re.DOTALL)
        if not parts or holds_credentials(uri):
            raise UserError(
                "an S3 source is s3://bucket/prefix and nothing else: credentials belong in the environment."
            )
        self.uri, self.bucket, self.prefix = uri, parts[1], (parts[2] or "").strip("/")
        self._below = f"{self.prefix}/" if self.prefix else ""
        self.client = _client(endpoint_url)
        self.server = self.client.meta.endpoint_url
        self.name = f"{self.server} {self.bucket}/{self.prefix}"

    def list(self) -> Listing:
        files = {}
        with self._plain_words():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._below
            )
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._below)
                    if key and not key.endswith("/"):
                        files[key] = Stat(found["Size"], found["ETag"].strip('"'))
        table = io.BytesIO()
        if name := table_of(files, self.uri):
            try:
                self._copy(name, files[name], table)
            except FetchError as error:
                raise Unavailable(f"{self.uri}/{name}: {error}.") from error
        return arrange(files, table.getvalue() if name else None, self.uri)

    def check(self) -> None:
        """Ask for a single name, so that whatever is wrong with server, bucket or keys is said now."""
        with self._plain_words():
            self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._below, MaxKeys=1)

    def outdated(self, listing: Listing) -> bool:
        return False

    def fetch(self, key: str, stat: Stat, target: Path) -> None:
        with target.open("w+b") as file:
            self._copy(key, stat, file)

    def _copy(self, key: str, stat: Stat, file: File) -> None:
        """Write the object to `file`, empty so far; a transfer that breaks goes on where it broke.

        Raises FetchError for an object that is not what was listed, and Unavailable after TRIES in a row that
        brought no byte further.
        """
        furthest = failed = 0
        while True:
            try:
                with self._plain_words(key):
                    return self._go_on(key, stat, file)
            except (_Broken, _Wrong) as error:
                failed = 1 if file.tell() > furthest else failed + 1
                furthest = max(furthest, file.tell())
                if failed == TRIES and isinstance(error, _Wrong):
                    raise FetchError(f"fetched {TRIES} times, and each time {error}") from error
                if failed == TRIES:
                    raise Unavailable(
                        f"s3://{self.bucket}/{self._below}{key} at {self.server}: the transfer broke {TRIES} "
                        f"times at byte {furthest} ({error}); try again, what was fetched is kept."
                    ) from error
                if isinstance(error, _Wrong):
                    file.truncate(file.seek(0))
                time.sleep(0.2 * 2**failed)

    def _go_on(self, key: str, stat: Stat, file: File) -> None:
        """Ask for what `file` lacks, append it and look at the whole."""
        from botocore.exceptions import (
            ClientError,
            FlexibleChecksumError,
            HTTPClientError,
            IncompleteReadError,
            ResponseStreamingError,
        )

        have = file.tell()
        # Only a whole answer has a checksum, which botocore compares where the object has one.
        how: dict[str, Any] = {"Range": f"bytes={have}-"} if have else {"ChecksumMode": "ENABLED"}
        try:
            answer = self.client.get_object(
                Bucket=self.bucket, Key=self._below + key, IfMatch=f'"{stat.etag}"', **how
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _OF_ONE_OBJECT:
                raise FetchError(_OF_ONE_OBJECT[code]) from error
            raise
        if answer["ETag"].strip('"') != stat.etag:  # not every server knows If-Match
            raise FetchError(_OF_ONE_OBJECT["412"])
        if "ContentRange" not in answer:
            file.truncate(file.seek(0))
        try:
            for block in answer["Body"].iter_chunks(1 << 20):
                file.write(block)
        except FlexibleChecksumError as error:
            raise _Wrong("the bytes do not fit the checksum") from error
        except (IncompleteReadError, ResponseStreamingError, HTTPClientError) as error:
            raise _Broken(" ".join(str(error).split())) from error
        if file.tell() != stat.size:
            raise _Wrong(f"{file.tell()} bytes came, {stat.size} were listed")
        # The ETag of an object put in one part, and not encrypted by a key of its own, is its MD5.
        plain = (
            answer.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in answer
        )
        if plain and re.fullmatch(r"[0-9a-f]{32}", stat.etag) and _md5(file) != stat.etag:
            raise _Wrong("the bytes do not fit the ETag")

    @contextmanager
    def _plain_words(self, key: str = "") -> Iterator[None]:
        """Say in one sentence what the server, the network or the credentials lack; never a secret."""
        from botocore import exceptions as aws

        where = f"s3://{self.bucket}/{self._below}{key}".rstrip("/") + f" at {self.server}"
        try:
            yield
        except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
            reason = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            raise UserError(f"{where}: {reason}.") from error
        except (aws.HTTPClientError, aws.ConnectionError) as error:  # wrong address, no network, TLS
            reason = "the server does not answer; check ingest.endpoint_url, AWS_ENDPOINT_URL and the network"
            raise Unavailable(f"{where}: {reason}.") from error
        except aws.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status >= 500 or status == 429:
                reason = f"the server is busy or out of order ({code}); try again, what was fetched is kept"
                raise Unavailable(f"{where}: {reason}.") from error
            raise UserError(f"{where}: {_REASONS.get(code, f'the server says {code}')}.") from error
        except aws.ParamValidationError as error:
            raise UserError(f"{where}: '{self.bucket}' cannot be the name of a bucket.") from error
        except aws.BotoCoreError as error:
            raise UserError(f"{where}: {' '.join(str(error).split())}") from error


class _Broken(Exception):
    """The connection was lost on the way; what came is good."""


class _Wrong(Exception):
    """Everything came, and it is not what was listed."""


_ADDRESS = "What ingest.endpoint_url or AWS_ENDPOINT_URL says"
_OF_ONE_OBJECT = {
    "NoSuchKey": "the file is missing",
    "404": "the file is missing",
    "PreconditionFailed": "changed since the scan; scan again",
    "412": "changed since the scan; scan again",
    "InvalidObjectState": "archived by the server; have it restored and scan again",
    "InvalidRequest": "the server does not take the name",
}
"""What ends the fetching of one object and of no other."""
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


def _client(endpoint_url: str | None) -> "S3Client":
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    patience = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": PATIENCE},
        max_pool_connections=S3Source.workers,
    )
    try:
        client = boto3.session.Session().client("s3", endpoint_url=endpoint_url, config=patience)
    except ValueError as error:
        raise UserError(
            f"{_ADDRESS} is no address of an S3 server; give one like https://host:port."
        ) from error
    except BotoCoreError as error:
        raise UserError(f"S3: {' '.join(str(error).split())}; check the AWS configuration.") from error
    if "@" in client.meta.endpoint_url:  # it would be told with every mistake
        raise UserError(f"{_ADDRESS} holds credentials; give them as AWS_ACCESS_KEY_ID and so on.")
    return client
