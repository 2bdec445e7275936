"""What is left of a mistake when several processes share a training."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher import api

from slimstream.cli import torchrun
from slimstream.core.errors import UserError


def ending(status: int) -> Callable[..., Callable[..., NoReturn]]:
    """A launcher whose first process ends with `status`."""

    def started(*_: object) -> NoReturn:
        raise ChildFailedError("train", {0: ProcessFailure(0, 1, status, "")})

    return lambda *_: started


@pytest.mark.parametrize("status", [2, 3])
def test_what_is_told_in_one_sentence_keeps_its_status(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flow has to know whether to try again (3) or not (2)."""
    monkeypatch.setattr(api, "elastic_launch", ending(status))
    assert torchrun.run_distributed("train", tmp_path, 2) == status


def test_a_crash_says_which_process_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "elastic_launch", ending(1))
    with pytest.raises(UserError, match="process 0 of 2 ended with status 1, so all were stopped"):
        torchrun.run_distributed("train", tmp_path, 2)
