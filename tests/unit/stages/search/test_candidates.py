"""Candidates: all combinations, what each needs of a pack, and mistakes that scan names."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.models import create_model
from slimstream.pipeline.preflight import preflight
from slimstream.pipeline.recipes import resolve
from slimstream.pipeline.stages import STAGES
from slimstream.stages.search.candidates import Candidate, candidates
from slimstream.stages.search.params import SearchParams

EXTRACT = ExtractParams(frames=8, size=(64, 64))
LITE = "two_stream_efficientnet_lite0"


def ask(
    search: dict[str, Any], train: dict[str, Any] | None = None, extract: dict[str, Any] | None = None
) -> None:
    """What scan asks of the settings before anything is run."""
    settings = {
        "extract": {"frames": 8, "size": [64, 64], **(extract or {})},
        "train": {"model": LITE, "fit": {"epochs": 0, "head": 1.0}, **(train or {})},
        "search": search,
    }
    preflight(resolve(settings, "recipe"), Paths(Path("nowhere")), [STAGES["search"]])


@pytest.mark.parametrize(
    ("streams", "refused"), [(["rgb"], True), (["both", "flow"], True), (["both"], False)]
)
def test_attention_is_compared_among_networks_of_the_same_streams(streams: list[str], refused: bool) -> None:
    settings = {
        "extract": {"frames": 8, "size": [64, 64]},
        "train": {"model": LITE, "fit": {"epochs": 0, "head": 1.0}},
        "search": {"streams": streams, "frames": [8, 4]},
        "distill": {"attention": 0.5},
    }
    with pytest.raises(UserError, match=r"set distill\.attention to 0") if refused else nullcontext():
        preflight(resolve(settings, "recipe"), Paths(Path("nowhere")), [STAGES["search"]])


@pytest.mark.parametrize("search", [{}, {"frames": [8, 4]}])
def test_the_network_of_the_search_alone_is_published_only_where_there_is_one(search: dict[str, Any]) -> None:
    settings = {
        "extract": {"frames": 8, "size": [64, 64]},
        "train": {"model": LITE, "fit": {"epochs": 0, "head": 1.0}},
        "search": search,
        "publish": {"models": ["slim"]},
    }
    with nullcontext() if search else pytest.raises(UserError, match=r"publish\.models names only slim"):
        preflight(resolve(settings, "recipe"), Paths(Path("nowhere")), [STAGES["search"]])


def test_every_combination_is_a_candidate_and_a_missing_list_is_as_train_says() -> None:
    search = SearchParams(frames=[8, 4, 4], sizes=[(64, 64), (32, 48)])
    found = candidates(
        search, EXTRACT, "efficientnet_frames", {"stream": "flow", "depth": 5, "backbone": "lite1"}
    )
    assert found == [
        Candidate("flow", frames, size, 5, 1, "lite1") for frames in (8, 4) for size in ((64, 64), (32, 48))
    ]


def test_two_streams_come_of_lite0_alone() -> None:
    search = SearchParams(streams=["both", "rgb"], backbones=["lite0", "lite2"])
    found = candidates(search, EXTRACT, LITE, {})
    assert [(one.streams, one.backbone) for one in found] == [
        ("both", "lite0"),
        ("rgb", "lite0"),
        ("rgb", "lite2"),
    ]


def test_what_it_needs_of_a_pack_is_no_more_than_differs() -> None:
    assert Candidate("both", 8, (64, 64), 7, 1, "lite0").input(EXTRACT) == NetworkInput.of(EXTRACT)
    one = Candidate("rgb", 2, (32, 32), 7, 1, "lite0").input(EXTRACT)
    assert one.reduce == Reduction(frames=2, size=(32, 32), streams="rgb") and one.channels == 3


@pytest.mark.parametrize("streams", ["both", "rgb", "flow"])
def test_its_network_is_built_from_what_train_says(streams: Any) -> None:
    one = Candidate(streams, 4, (64, 64), 3, 1, "lite0")
    name, args = one.model({"pretrained": False, "freeze": 6, "pool": "mean", "depth": 7})
    assert args["freeze"] == 4 and args["depth"] == 3  # the stem and three stages are all that it has
    model = create_model(name, 3, **args)
    assert one.input(EXTRACT).channels in model.channels


def refused(search: dict[str, Any], train: dict[str, Any], extract: dict[str, Any], said: str) -> None:
    """They are refused before anything runs, in one sentence that matches `said`."""
    with pytest.raises(UserError, match=said) as told:
        ask(search, train, extract)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("search", "train", "extract", "said"),
    [
        ({"frames": []}, {}, {}, r"'search.frames': the list is empty"),
        ({"margin": 1.5}, {}, {}, r"'search.margin': Input should be less than 1"),
        ({"margin": -0.1}, {}, {}, r"'search.margin': Input should be greater than or equal to 0"),
        ({"depths": [0]}, {}, {}, r"'search.depths.0': Input should be greater than or equal to 1"),
        ({"depths": [8]}, {}, {}, r"'search.depths.0': Input should be less than or equal to 7"),
        (
            {"backbones": ["lite7"]},
            {},
            {},
            r"'search.backbones.0': Input should be 'lite0', 'lite1' or 'lite2'",
        ),
        ({"depths": [3, 7]}, {"model": "c3d"}, {}, r"search has no axis for train.model c3d"),
        (
            {"frames": [4]},
            {"model": "light_residual_net"},
            {},
            r"light_residual_net without epochs",
        ),
        ({"frames": [9, 4]}, {}, {}, r"search.frames: .*reduce.frames 9 is more than the 8 frames of a pack"),
        ({"sizes": [[96, 96]]}, {}, {}, r"search.sizes: .*is larger than the packed pictures, \[64, 64\]"),
        ({"sizes": [[8, 8]]}, {}, {}, r"search.sizes: .*at least 16 by 16 pixels"),
        (
            {"streams": ["rgb", "flow"]},
            {"model": "efficientnet_frames"},
            {"flow": "none"},
            r"search.streams: flow needs optical flow, and extract.flow is none",
        ),
        (
            {"backbones": ["lite1"], "streams": ["both"]},
            {},
            {},
            r"no candidate: networks of both streams exist of",
        ),
        ({"depths": [6, 7]}, {"model_args": {"features": "head"}}, {}, r"train.model_args.features to last"),
        ({"frames": [4]}, {"model_args": {"fusion": "cafm"}}, {}, r"train.model_args.fusion to concat"),
        ({"frames": [4]}, {"model_args": {"pool": "max"}}, {}, r"setting 'pool'"),
        (
            {"frames": [8, 4]},  # by random features it would choose at random
            {"model_args": {"pretrained": False}},
            {},
            r"train.model_args.pretrained is false; set it to true, or the lists of search to null",
        ),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_runs(
    search: dict[str, Any], train: dict[str, Any], extract: dict[str, Any], said: str
) -> None:
    refused(search, train, extract, said)


LEARNS = {"fit": {"epochs": 2}}


@pytest.mark.parametrize(
    ("search", "train", "extract", "said"),
    [
        ({"models": ["c3d"]}, {}, {}, r"search.models compares .* train.fit.epochs is 0; set it"),
        ({"models": []}, LEARNS, {}, r"'search.models': the list is empty"),
        ({"models": ["resnet19"]}, LEARNS, {}, r"There is no model 'resnet19'; did you mean 'resnet18'"),
        ({"epochs": 0, "frames": [4]}, LEARNS, {}, r"'search.epochs': Input should be greater than or equal"),
        ({"trials": 0, "frames": [4]}, LEARNS, {}, r"'search.trials': Input should be greater than or equal"),
        (
            {"depths": [3]},
            {"model": "two_stream_squeezenet", **LEARNS},
            {},
            r"search.depths: two_stream_squeezenet has no stages that can be cut off",
        ),
        (
            {"streams": ["both", "rgb"]},
            {"model": "two_stream_squeezenet", **LEARNS},
            {},
            r"two_stream_squeezenet takes RGB pictures with optical flow \(5 channels\), and rgb-8x64x64",
        ),
        (
            {"models": ["light_residual_net_small", "efficientnet_frames"]},
            {"model": "light_residual_net_small", **LEARNS},
            {"flow": "none"},
            r"light_residual_net_small takes grey pictures \(1 channels\)",
        ),
        (
            {"sizes": [[16, 16]]},
            {"model": "two_stream_squeezenet", **LEARNS},
            {},
            r"two_stream_squeezenet cannot take the clips of both-8x16x16-two_stream_squeezenet",
        ),
        (
            {"frames": [4]},
            {"model_args": {"head": "linear"}, "fit": {"epochs": 2, "loss": "am_softmax"}},
            {},
            r"am_softmax compares angles",
        ),
    ],
)
def test_a_mistake_with_networks_that_learn_is_one_sentence(
    search: dict[str, Any], train: dict[str, Any], extract: dict[str, Any], said: str
) -> None:
    refused(search, train, extract, said)


def test_networks_that_learn_have_the_axes_that_suit_them() -> None:
    """Depths cut EfficientNet-Lite alone; rgb goes to the networks that take it."""
    search = SearchParams(
        models=["two_stream_squeezenet", LITE, "c3d"], streams=["both", "rgb"], frames=[4], depths=[7, 3]
    )
    found = candidates(search, EXTRACT, "two_stream_squeezenet", {"freeze": 1}, epochs=3)
    assert [one.title for one in found] == [
        "both-4x64x64-two_stream_squeezenet",
        "both-4x64x64-lite0-depth7",
        "both-4x64x64-lite0-depth3",
        "rgb-4x64x64-lite0-depth7",
        "rgb-4x64x64-lite0-depth3",
        "both-4x64x64-c3d",
        "rgb-4x64x64-c3d",
    ]
    assert found[0].model({"width": 2, "freeze": 1})[1] == {"freeze": 1}
    assert found[4].model({"width": 2, "freeze": 5, "fusion": "cafm"})[1] == {
        "freeze": 4,
        "depth": 3,
        "stream": "rgb",
        "backbone": "lite0",
    }


def test_any_network_that_learns_may_look_at_less() -> None:
    grey = {"grey": True, "flow": "none", "frames": 1}
    ask({"sizes": [[64, 64], [48, 48]]}, {"model": "light_residual_net_small", **LEARNS}, grey)
    ask({"frames": [4], "streams": ["both", "rgb"]}, {"model_args": {"fusion": "cafm"}, **LEARNS})


def test_a_backbone_whose_package_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("slimstream.models.two_stream.efficientnet.import_module", missing)
    with pytest.raises(
        UserError, match=r"search.backbones: lite2: The package efficientnet-lite2-.* is missing"
    ):
        ask({"backbones": ["lite2"], "streams": ["rgb"]})
    ask({"backbones": ["lite2"], "streams": ["rgb"]}, {"model_args": {"pretrained": False}})


def test_without_lists_any_network_may_be_trained() -> None:
    ask({}, {"model": "c3d"})
