"""Candidates: every combination of the lists of `search`. Importing this loads no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.core.errors import UserError
from slimstream.stages.search.params import STAGES, Backbone, SearchParams, Streams

TWO_STREAMS, ONE_STREAM = "two_stream_efficientnet_lite0", "efficientnet_frames"
LITE = (TWO_STREAMS, ONE_STREAM)
"""The networks that have depths, grids and backbones; the one is the other without a stream."""


@dataclass(frozen=True)
class View:
    """What a network looks at."""

    streams: Streams
    frames: int | None
    """Frames per clip; None: all that are packed, whose number depends on the clip."""
    size: tuple[int, int]
    """Height and width in pixels."""

    def input(self, extract: ExtractParams) -> NetworkInput:
        """How a raw clip becomes its input. Raises ValueError when packs of `extract` cannot serve it."""
        whole = Reduction()
        streams = "both" if self.streams == "both" or extract.flow == "none" else self.streams
        size = None if self.size == extract.size else self.size
        frames = None if self.frames == extract.frames else self.frames
        reduction = Reduction(frames=frames, size=size, streams=streams)
        return NetworkInput.of(extract, None if reduction == whole else reduction)

    @property
    def shown(self) -> str:
        """Streams, frames, height and width for a title."""
        frames = "all" if self.frames is None else self.frames
        return f"{self.streams}-{frames}x{self.size[0]}x{self.size[1]}"


@dataclass(frozen=True)
class Candidate(View):
    """What an EfficientNet-Lite, one of LITE, looks at, and how deep it is."""

    depth: int
    """Stages after the stem."""
    grid: int
    """Rows and columns of cells over which maps are averaged."""
    backbone: Backbone

    @property
    def network(self) -> tuple[Any, ...]:
        """Candidates of the same network differ in frames and size alone; they are exported once."""
        return self.streams, self.backbone, self.depth, self.grid

    @property
    def title(self) -> str:
        cells = f"-grid{self.grid}" if self.grid > 1 else ""
        return f"{self.shown}-{self.backbone}-depth{self.depth}{cells}"

    def model(self, args: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name and settings of its network; `args` are train.model_args, of which it takes what it knows."""
        from slimstream.models import model_settings  # torch takes seconds to import

        name = TWO_STREAMS if self.streams == "both" else ONE_STREAM
        known = set(model_settings(name)) - {"depth", "grid", "stream", "backbone"}
        kept = {key: value for key, value in args.items() if key in known}
        if isinstance(kept.get("freeze"), int):
            kept["freeze"] = min(kept["freeze"], self.depth + 1)
        if self.depth < STAGES:
            kept["depth"] = self.depth
        if self.grid > 1:
            kept["grid"] = self.grid
        own = {"stream": self.streams, "backbone": self.backbone} if name == ONE_STREAM else {}
        return name, kept | own


@dataclass(frozen=True)
class OtherCandidate(View):
    """What a network looks at that is none of LITE: it has no depth, grid or backbone to choose."""

    name: str

    @property
    def network(self) -> tuple[Any, ...]:
        """It is exported for each input: what its layers compute may depend on frames and size."""
        return self.name, self.shown

    @property
    def title(self) -> str:
        return f"{self.shown}-{self.name}"

    def model(self, args: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name and settings of its network; `args` are train.model_args, of which it takes what it knows."""
        from slimstream.models import model_settings

        known = model_settings(self.name)
        return self.name, {key: value for key, value in args.items() if key in known}


AnyCandidate = Candidate | OtherCandidate


def describe(one: AnyCandidate, extract: ExtractParams, args: Mapping[str, Any]) -> dict[str, Any]:
    """Its entry in search.json; `args` are train.model_args."""
    reduction = one.input(extract).reduce
    model, model_args = one.model(args)
    lite = isinstance(one, Candidate)
    return {
        "title": one.title,
        "streams": one.streams,
        "frames": one.frames,
        "size": one.size,
        **{axis: getattr(one, axis) if lite else None for axis in ("depth", "grid", "backbone")},
        "reduce": reduction and reduction.model_dump(mode="json"),
        "model": model,
        "model_args": model_args,
    }


def candidates(
    search: SearchParams, extract: ExtractParams, model: str, args: Mapping[str, Any], epochs: int = 0
) -> list[AnyCandidate]:
    """All candidates in the order of the lists; `model`, `args` and `epochs` are those of `train`.

    Without epochs the features of pretrained layers are compared, which only networks of LITE have. Two
    streams exist of Lite0 alone, so there are no candidates of both streams with another backbone; nor of
    streams that a network of several does not take. Raises UserError when no candidate is left, when a list
    names what no network has, or when packs made with `extract` cannot serve a candidate.
    """
    if not epochs:
        _check_frozen(search, model, args)
    names = list(dict.fromkeys(search.models or [model]))
    _check_axes(search, names)
    found = list(dict.fromkeys(one for name in names for one in _of_network(name, search, extract, args)))
    found = [one for one in found if getattr(one, "backbone", "lite0") == "lite0" or one.streams != "both"]
    if not found:
        raise UserError(
            "params.yaml: search has no candidate: networks of both streams exist of lite0 alone; add lite0 "
            "to search.backbones, or rgb or flow to search.streams."
        )
    _check_packs(search, extract, found)
    return _with_their_streams(found, extract, args) if epochs else found


def _of_network(
    name: str, search: SearchParams, extract: ExtractParams, args: Mapping[str, Any]
) -> Iterator[AnyCandidate]:
    """The combinations of the lists for the network `name`; without a list it is as `train` says."""
    frames: Sequence[int | None] = search.frames or [extract.frames]
    sizes = search.sizes or [extract.size]
    if name not in LITE:
        whole: Streams = "rgb" if extract.flow == "none" else "both"
        seen = product(search.streams or [whole], frames, sizes)
        yield from (OtherCandidate(*values, name) for values in seen)
        return
    own: Streams = "both" if name == TWO_STREAMS else args.get("stream", "rgb")
    backbone: Backbone = args.get("backbone", "lite0")
    yield from (
        Candidate(*values)
        for values in product(
            search.streams or [own],
            frames,
            sizes,
            search.depths or [args.get("depth") or STAGES],
            search.grids or [args.get("grid", 1)],
            search.backbones or [backbone],
        )
    )


def _check_frozen(search: SearchParams, model: str, args: Mapping[str, Any]) -> None:
    """Raise UserError when candidates cannot be compared by the features of pretrained layers."""
    if search.models:
        raise UserError(
            "params.yaml: search.models compares networks that learn by gradient steps, and train.fit.epochs "
            "is 0; set it to a number of epochs, or search.models to null."
        )
    if model not in LITE:
        raise UserError(
            f"params.yaml: search has no axis for train.model {model} without epochs: it compares networks "
            f"of frozen features, {TWO_STREAMS} and {ONE_STREAM}; set train.model to one of them, "
            "train.fit.epochs to a number of epochs, or the lists of search to null."
        )
    for setting, wanted in (("features", "last"), ("fusion", "concat"), ("position", "fc")):
        if args.get(setting, wanted) != wanted:
            raise UserError(
                f"params.yaml: search cannot judge a network with {setting}: {args[setting]}; set "
                f"train.model_args.{setting} to {wanted}, or the lists of search to null."
            )


def _check_axes(search: SearchParams, names: list[str]) -> None:
    for axis, what in (
        ("depths", "stages that can be cut off"),
        ("grids", "grid of cells"),
        ("backbones", "backbone to exchange"),
    ):
        if getattr(search, axis) and not set(names) & set(LITE):
            raise UserError(
                f"params.yaml: search.{axis}: {', '.join(names)} has no {what}; set search.{axis} to null, "
                f"or name {' or '.join(LITE)} in search.models."
            )


def _with_their_streams(
    found: list[AnyCandidate], extract: ExtractParams, args: Mapping[str, Any]
) -> list[AnyCandidate]:
    """Those whose network takes what they see. Raises UserError for a network or streams without any."""
    from slimstream.models import CLIPS, MODELS, build_on_meta, create_model

    for one in found:
        if isinstance(one, OtherCandidate) and one.name not in MODELS:
            create_model(one.name, 2)  # says which are near
    nets = {one: one.model(args) for one in found}
    takes = {one: build_on_meta(*net).channels for one, net in nets.items()}
    kept = [one for one in found if one.input(extract).channels in takes[one]]
    left = {one.streams for one in kept} | {nets[one][0] for one in kept}
    for one in found:
        if not {one.streams, nets[one][0]} <= left:
            wanted = " or ".join(f"{CLIPS[c]} ({c} channels)" for c in sorted(takes[one]))
            shown = one.input(extract).channels
            raise UserError(
                f"params.yaml: search: {nets[one][0]} takes {wanted}, and {one.title} would show it "
                f"{CLIPS[shown]} ({shown}); change search.streams, search.models or extract."
            )
    return kept


def _check_packs(search: SearchParams, extract: ExtractParams, found: list[AnyCandidate]) -> None:
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
