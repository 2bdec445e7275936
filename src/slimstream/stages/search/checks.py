"""Checks of the candidates' networks before anything is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.models import build_on_meta, check_channels
from slimstream.models.cost import count_macs
from slimstream.models.two_stream.efficientnet import check_weights
from slimstream.stages.search.candidates import AnyCandidate, Candidate, OtherCandidate
from slimstream.training.objectives import check_training
from slimstream.training.params import FitParams, TrainParams


def check_networks(found: list[AnyCandidate], extract: ExtractParams, train: TrainParams) -> None:
    """Raise UserError when a network cannot be built, takes other clips, or its weights are missing.

    Networks that learn must fit `train.fit` and take clips of this size. Without epochs, several candidates
    are compared by the features of pretrained layers, so these must be pretrained.
    """
    args = train.model_args
    if not train.fit.epochs and len(found) > 1 and args.get("pretrained", True) is False:
        raise UserError(
            "params.yaml: search compares networks by the features of pretrained layers, and "
            "train.model_args.pretrained is false; set it to true, or the lists of search to null."
        )
    _check_weights([one for one in found if isinstance(one, Candidate)], args)
    for one in {one.network: one for one in found}.values():
        net = build_on_meta(*one.model(args))
        check_channels(net, one.input(extract).channels, "search")
        if train.fit.epochs:
            _check_learning(one, net, extract, train.fit)


def _check_weights(lite: list[Candidate], args: Mapping[str, Any]) -> None:
    if isinstance(args.get("pretrained", True), str | Path):
        if len({one.backbone for one in lite}) > 1:
            raise UserError(
                "params.yaml: search.backbones has several networks, and train.model_args.pretrained names "
                "the weights of one; search one backbone, or set pretrained to true."
            )
    elif args.get("pretrained", True):
        for backbone in dict.fromkeys(one.backbone for one in lite):
            try:
                check_weights(backbone)
            except UserError as error:
                raise UserError(f"params.yaml: search.backbones: {backbone}: {error}") from error


def _check_learning(one: AnyCandidate, net: Any, extract: ExtractParams, p: FitParams) -> None:
    seen = one.input(extract)
    check_training(net, p, seen.channels, "search")
    if isinstance(one, OtherCandidate):  # the others take every size
        try:
            count_macs(net, (2, one.frames or 2, seen.channels, *one.size))
        except (RuntimeError, ValueError, AssertionError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(
                f"params.yaml: search: {one.name} cannot take the clips of {one.title} ({said}); change "
                "search.sizes or search.frames."
            ) from error
