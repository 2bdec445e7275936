"""Clips in a bucket: any server that speaks S3. Credentials come from boto3's usual places."""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from slimstream.data.listing import METADATA, Listing, Stat, arrange
from slimstream.data.sources import FetchError
from slimstream.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRIES = 4
"""How often an object is asked for when the transfer breaks."""


class S3Source:
    """The objects below s3://bucket/prefix. `endpoint_url` None: AWS_ENDPOINT_URL or AWS itself."""

    workers = 8

    def __init__(self, uri: str, endpoint_url: str | None = None) -> None:
        parts = urlsplit(uri)
        if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
            raise UserError(
                "an S3 source is s3://bucket/prefix and nothing else: credentials belong in the environment."
            )
        self.uri, self.bucket, self.prefix = uri, parts.netloc, parts.path.strip("/")
        self.client = _client(endpoint_url)
        self.server = self.client.meta.endpoint_url
        self.name = f"{self.server} {self.bucket}/{self.prefix}"

    def list(self) -> Listing:
        below = f"{self.prefix}/" if self.prefix else ""
        files = {}
        with self._plain_words():
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=below)
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(below)
                    if key and not key.endswith("/"):
                        files[key] = Stat(found["Size"], found["ETag"].strip('"'))
            table = None
            if METADATA in files:
                table = self.client.get_object(Bucket=self.bucket, Key=below + METADATA)["Body"].read()
        return arrange(files, table, self.uri)

    def outdated(self, listing: Listing) -> bool:
        return False

    def fetch(self, key: str, stat: Stat, target: Path) -> None:
        for attempt in range(TRIES):
            try:
                with self._plain_words():
                    return self._fetch(key, stat, target)
            except _Broken as error:
                if attempt == TRIES - 1:
                    raise FetchError(f"the transfer broke {TRIES} times: {error}") from error
                time.sleep(0.2 * 2**attempt)

    def _fetch(self, key: str, stat: Stat, target: Path) -> None:
        from botocore.exceptions import (
            ClientError,
            FlexibleChecksumError,
            HTTPClientError,
            IncompleteReadError,
            ResponseStreamingError,
        )

        try:
            # botocore itself compares the checksum, where the object has one, and the length.
            answer = self.client.get_object(
                Bucket=self.bucket,
                Key=f"{self.prefix}/{key}".lstrip("/"),
                IfMatch=f'"{stat.etag}"',
                ChecksumMode="ENABLED",
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchKey", "404"):
                raise FetchError("the file is missing") from error
            if code in ("PreconditionFailed", "412"):
                raise FetchError("changed since the scan; scan again") from error
            raise
        if answer["ETag"].strip('"') != stat.etag:  # not every server knows If-Match
            raise FetchError("changed since the scan; scan again")
        md5 = hashlib.md5(usedforsecurity=False)
        try:
            with target.open("wb") as file:
                for block in answer["Body"].iter_chunks(1 << 20):
                    md5.update(block)
                    file.write(block)
        except (IncompleteReadError, FlexibleChecksumError, ResponseStreamingError, HTTPClientError) as error:
            raise _Broken(" ".join(str(error).split())) from error
        if target.stat().st_size != stat.size:
            raise _Broken(f"{target.stat().st_size} bytes came, {stat.size} were listed")
        # The ETag of an object put in one part, and not encrypted by a key of its own, is its MD5.
        plain = (
            answer.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in answer
        )
        if plain and re.fullmatch(r"[0-9a-f]{32}", stat.etag) and md5.hexdigest() != stat.etag:
            raise _Broken("the bytes do not fit the ETag")

    @contextmanager
    def _plain_words(self) -> Iterator[None]:
        """Say in one sentence what the server, the network or the credentials lack; never a secret."""
        from botocore import exceptions as aws

        where = f"s3://{self.bucket} at {self.server}"
        try:
            yield
        except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
            reason = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            raise UserError(f"{where}: {reason}.") from error
        except (aws.HTTPClientError, aws.ConnectionError) as error:  # wrong address, no network, TLS
            reason = "the server does not answer; check ingest.endpoint_url, AWS_ENDPOINT_URL and the network"
            raise UserError(f"{where}: {reason}.") from error
        except aws.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise UserError(f"{where}: {_REASONS.get(code, f'the server says {code}')}.") from error
        except aws.ParamValidationError as error:
            raise UserError(f"{where}: '{self.bucket}' cannot be the name of a bucket.") from error
        except aws.BotoCoreError as error:
            raise UserError(f"{where}: {' '.join(str(error).split())}") from error


class _Broken(Exception):
    """A transfer that may go well the next time."""


_REASONS = {
    "NoSuchBucket": "there is no such bucket; check the source",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
    "InvalidAccessKeyId": "the access key is unknown; check AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the credentials have expired; get new ones",
    "AccessDenied": "these credentials may not read it; ask for read and list permission",
    "403": "these credentials may not read it; ask for read and list permission",
}


def _client(endpoint_url: str | None) -> "S3Client":
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    patience = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=S3Source.workers,
    )
    try:
        return boto3.session.Session().client("s3", endpoint_url=endpoint_url, config=patience)
    except ValueError as error:
        raise UserError(
            f"'{endpoint_url}' is no address of an S3 server; give one like https://host:port."
        ) from error
    except BotoCoreError as error:
        raise UserError(f"S3: {' '.join(str(error).split())}; check the AWS configuration.") from error
