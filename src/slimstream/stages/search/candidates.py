"""Candidates: every combination of the lists of `search`. Importing this loads no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.core.errors import UserError
from slimstream.stages.search.params import STAGES, Backbone, SearchParams, Streams

TWO_STREAMS, ONE_STREAM = "two_stream_efficientnet_lite0", "efficientnet_frames"
AXES = ("streams", "frames", "sizes", "depths", "backbones")


@dataclass(frozen=True)
class Candidate:
    """What a network looks at, and how deep it is."""

    streams: Streams
    frames: int | None
    """Frames per clip; None: all that are packed, whose number depends on the clip."""
    size: tuple[int, int]
    """Height and width in pixels."""
    depth: int
    """Stages after the stem."""
    backbone: Backbone

    @property
    def network(self) -> tuple[Streams, Backbone, int]:
        """Candidates of the same network differ in frames and size alone."""
        return self.streams, self.backbone, self.depth

    @property
    def title(self) -> str:
        frames = "all" if self.frames is None else self.frames
        return f"{self.streams}-{frames}x{self.size[0]}x{self.size[1]}-{self.backbone}-depth{self.depth}"

    def input(self, extract: ExtractParams) -> NetworkInput:
        """How a raw clip becomes its input. Raises ValueError when packs of `extract` cannot serve it."""
        whole = Reduction()
        streams = "both" if self.streams == "both" or extract.flow == "none" else self.streams
        size = None if self.size == extract.size else self.size
        frames = None if self.frames == extract.frames else self.frames
        reduction = Reduction(frames=frames, size=size, streams=streams)
        return NetworkInput.of(extract, None if reduction == whole else reduction)

    def model(self, args: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name and settings of its network; `args` are train.model_args, of which it takes what fits."""
        kept = {key: value for key, value in args.items() if key not in ("depth", "stream", "backbone")}
        if isinstance(kept.get("freeze"), int):
            kept["freeze"] = min(kept["freeze"], self.depth + 1)
        if self.depth < STAGES:
            kept["depth"] = self.depth
        if self.streams == "both":
            return TWO_STREAMS, kept
        for only_two in ("fusion", "position", "features"):
            kept.pop(only_two, None)
        return ONE_STREAM, {**kept, "stream": self.streams, "backbone": self.backbone}

    def describe(self, extract: ExtractParams, args: Mapping[str, Any]) -> dict[str, Any]:
        """Its entry in search.json."""
        reduction = self.input(extract).reduce
        model, model_args = self.model(args)
        return {
            "title": self.title,
            **asdict(self),
            "reduce": reduction and reduction.model_dump(mode="json"),
            "model": model,
            "model_args": model_args,
        }


def candidates(
    search: SearchParams, extract: ExtractParams, model: str, args: Mapping[str, Any]
) -> list[Candidate]:
    """All candidates in the order of the lists; `model` and `args` are those of `train`.

    Two streams exist of Lite0 alone, so there are no candidates of both streams with another backbone. Raises
    UserError when no candidate is left, when `train` has a network that cannot be searched, or when packs
    made with `extract` cannot serve a candidate.
    """
    own = _of_training(model, args, extract)
    lists = [
        list(dict.fromkeys(getattr(search, axis) or [value]))
        for axis, value in zip(
            AXES, (own.streams, own.frames, own.size, own.depth, own.backbone), strict=True
        )
    ]
    found = [Candidate(*values) for values in product(*lists)]
    found = [one for one in found if one.backbone == "lite0" or one.streams != "both"]
    if not found:
        raise UserError(
            "params.yaml: search has no candidate: networks of both streams exist of lite0 alone; add lite0 "
            "to search.backbones, or rgb or flow to search.streams."
        )
    _check_packs(search, extract, found)
    return found


def _of_training(model: str, args: Mapping[str, Any], extract: ExtractParams) -> Candidate:
    """The candidate that `train` and `extract` say."""
    if model not in (TWO_STREAMS, ONE_STREAM):
        raise UserError(
            f"params.yaml: search has no axis for train.model {model}: it compares networks of frozen "
            f"features, {TWO_STREAMS} and {ONE_STREAM}; set train.model to one of them, or the lists of "
            "search to null."
        )
    for setting, wanted in (("features", "last"), ("fusion", "concat"), ("position", "fc")):
        if args.get(setting, wanted) != wanted:
            raise UserError(
                f"params.yaml: search cannot judge a network with {setting}: {args[setting]}; set "
                f"train.model_args.{setting} to {wanted}, or the lists of search to null."
            )
    both = model == TWO_STREAMS
    return Candidate(
        cast(Streams, "both" if both else args.get("stream", "rgb")),
        extract.frames,
        extract.size,
        args.get("depth") or STAGES,
        cast(Backbone, args.get("backbone", "lite0")),
    )


def _check_packs(search: SearchParams, extract: ExtractParams, found: list[Candidate]) -> None:
    if extract.flow == "none" and (one := next((c for c in found if c.streams != "rgb"), None)):
        raise UserError(
            f"params.yaml: search.streams: {one.streams} needs optical flow, and extract.flow is none; "
            "search rgb alone, or set extract.flow."
        )
    for one in found:
        try:
            one.input(extract)
        except (ValidationError, ValueError) as error:
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            said = first.removeprefix("Value error, ")
            axis = "sizes" if "size" in said else "frames" if "frames" in said else "streams"
            raise UserError(
                f"params.yaml: search.{axis}: the packs cannot serve {one.title}: {said}; change "
                f"search.{axis} or extract."
            ) from error


def check_networks(found: list[Candidate], extract: ExtractParams, args: Mapping[str, Any]) -> None:
    """Raise UserError when a network cannot be built, takes other clips, or its weights are missing.

    Several candidates are compared by the features of pretrained layers, so these must be pretrained.
    """
    from slimstream.models import build_on_meta, check_channels
    from slimstream.models.two_stream.efficientnet import check_weights

    if len(found) > 1 and args.get("pretrained", True) is False:
        raise UserError(
            "params.yaml: search compares networks by the features of pretrained layers, and "
            "train.model_args.pretrained is false; set it to true, or the lists of search to null."
        )
    if isinstance(args.get("pretrained", True), str | Path):
        if len({one.backbone for one in found}) > 1:
            raise UserError(
                "params.yaml: search.backbones has several networks, and train.model_args.pretrained names "
                "the weights of one; search one backbone, or set pretrained to true."
            )
    elif args.get("pretrained", True):
        for backbone in dict.fromkeys(one.backbone for one in found):
            try:
                check_weights(backbone)
            except UserError as error:
                raise UserError(f"params.yaml: search.backbones: {backbone}: {error}") from error
    for one in {one.network: one for one in found}.values():
        check_channels(build_on_meta(*one.model(args)), one.input(extract).channels, "search")
