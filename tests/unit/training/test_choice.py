"""What the search chose, read from its file; and whether that is the network of `train`."""

import json
from pathlib import Path
from typing import Any

import pytest

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.training.choice import Choice, read_choices
from slimstream.training.params import TrainParams

PACKS = ExtractParams(frames=8, size=(96, 96))
TWO = "two_stream_efficientnet_lite0"


@pytest.mark.parametrize(
    ("model", "args", "reduce", "same"),
    [
        (TWO, {"freeze": 3, "depth": 2}, None, True),
        (TWO, {"freeze": 3, "depth": 2, "pretrained": True}, None, True),  # a default, written out
        (TWO, {"freeze": 3, "depth": 2}, {"frames": 8, "size": [96, 96]}, True),
        (TWO, {"freeze": 2, "depth": 2}, None, False),
        (TWO, {"freeze": 3, "depth": 3}, None, False),
        (TWO, {"freeze": 3, "depth": 2, "dropout": 0.5}, None, False),
        (TWO, {"freeze": 3, "depth": 2}, {"frames": 4}, False),
        (TWO, {"freeze": 3, "depth": 2}, {"size": [64, 96]}, False),
        ("efficientnet_frames", {"freeze": 3, "depth": 2}, {"streams": "rgb"}, False),
    ],
)
def test_a_network_is_that_of_train_when_nothing_differs(
    model: str, args: dict[str, Any], reduce: dict[str, Any] | None, same: bool
) -> None:
    train = TrainParams(model=TWO, model_args={"freeze": 3, "depth": 2})
    choice = Choice.model_validate({"model": model, "model_args": args, "reduce": reduce})
    assert choice.is_that_of(train, PACKS) is same


def test_packs_without_flow_are_whole_as_rgb() -> None:
    train = TrainParams(model="efficientnet_frames")
    choice = Choice.model_validate({"model": "efficientnet_frames", "reduce": {"streams": "rgb"}})
    assert choice.is_that_of(train, PACKS.model_copy(update={"flow": "none"}))
    assert not choice.is_that_of(train, PACKS)


def test_the_file_says_more_than_is_read(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert read_choices(paths) == {}, "a paper's table has none"
    paths.search.parent.mkdir()
    one = {"model": TWO, "model_args": {}, "reduce": None, "title": "both", "macro_f1": 0.9}
    paths.search.write_text(json.dumps({"tried": 1, "chosen": one, "best": None}))
    assert read_choices(paths) == {"chosen": Choice(model=TWO)}
    paths.search.write_text("[]")
    with pytest.raises(UserError, match="run it again"):
        read_choices(paths)
