"""What the system refuses, as a sentence."""

import errno
from pathlib import Path

import pytest

from slimstream.core.errors import system_error


def test_the_file_is_named_or_where_the_work_is() -> None:
    refused = PermissionError(errno.EACCES, "Permission denied", "/plant/clips")
    assert system_error(refused, Path("/home")) == "Permission denied: /plant/clips"
    assert system_error(OSError(errno.ENOSPC, "No space left on device"), Path("/home")) == (
        "No space left on device: /home"
    )


def test_an_error_that_is_not_the_systems_stays_what_it_is() -> None:
    """Libraries raise errors below OSError without a number: "None: /home" would tell nobody anything."""
    with pytest.raises(OSError, match="no route to the store"):
        system_error(OSError("no route to the store"), Path("/home"))
