"""Features of all candidates: computed once for each backbone, picture size and stream, and shared.

A candidate's features are a mean and a standard deviation over its frames, of maps after one of the stages.
So one pass over the frames that any candidate looks at gives those of every depth, grid and number of frames.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimstream.clips.params import ExtractParams, Reduction
from slimstream.clips.reduce import kept_frames, reduce_pictures
from slimstream.core.fingerprint import PACKAGE, code_key
from slimstream.core.parallel import cores
from slimstream.core.progress import progress_bar
from slimstream.datasets.dataset import ClipDataset
from slimstream.models import create_model
from slimstream.models.architectures.one_stream import FrameStream
from slimstream.models.architectures.two_stream import GridMean, TimePool
from slimstream.models.checkpoint import weight_hash
from slimstream.stages.search.candidates import ONE_STREAM, Candidate
from slimstream.stages.search.compiled import compile_network
from slimstream.stages.search.params import Backbone
from slimstream.training.feature_cache import digest, write_array

Kind = tuple[int, int]
"""Depth, and grid over which the map after it is averaged."""
Features = npt.NDArray[np.float32]
BATCH_PIXELS = 8 * 224 * 224
"""Pixels of the pictures that are computed at once; more would not fit a processor's caches."""


@dataclass(frozen=True)
class Pass:
    """One pass of a backbone over frames of one stream at one size, for the `candidates` that need it."""

    backbone: Backbone
    stream: Literal["rgb", "flow"]
    size: tuple[int, int]
    candidates: tuple[Candidate, ...]

    @property
    def title(self) -> str:
        return f"{self.backbone}-{self.stream}-{self.size[0]}x{self.size[1]}"

    @property
    def kinds(self) -> list[Kind]:
        return sorted({(one.depth, one.grid) for one in self.candidates})

    def frames(self, length: int) -> list[int]:
        """Indices of the frames of a clip of `length` frames that any candidate looks at."""
        return sorted({i for one in self.candidates for i in kept_frames(length, one.frames)})


def passes(candidates: Sequence[Candidate]) -> list[Pass]:
    """The passes that serve all candidates."""
    found: dict[tuple[Backbone, Literal["rgb", "flow"], tuple[int, int]], list[Candidate]] = {}
    for one in candidates:
        for stream in streams_of(one):
            found.setdefault((one.backbone, stream, one.size), []).append(one)
    return [Pass(*key, tuple(needing)) for key, needing in found.items()]


def streams_of(one: Candidate) -> list[Literal["rgb", "flow"]]:
    """The streams it looks at, in the order of its features."""
    return ["rgb", "flow"] if one.streams == "both" else [one.streams]


def compute_pass(
    job: Pass, clips: ClipDataset, extract: ExtractParams, args: Mapping[str, Any], cache: Path
) -> dict[Kind, Features]:
    """Kind → features (frames of all clips one after the other, C) of `job`.

    `args` are train.model_args. Those of a clip are kept in the folder `cache`, named after the weights,
    the code of all networks and the bytes of the clip: a killed search, a search with other clips and the
    other folds of a cross-validation read them there.
    """
    stages = PooledStages(job, args).eval()
    folder = cache / "trunk" / _key(stages, job, extract)
    packs = (clips.all_frames(i)[job.frames(length)] for i, length in enumerate(clips.lengths))
    files = [folder / digest(pack) for pack in packs]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    for i, array in _compute(job, missing, clips, extract, stages):
        write_array(files[i], array)
    whole = np.concatenate([np.load(file, allow_pickle=False) for file in files])
    parts = np.split(whole, np.cumsum(stages.widths)[:-1], axis=1)
    return dict(zip(job.kinds, parts, strict=True))


def _key(stages: "PooledStages", job: Pass, extract: ExtractParams) -> str:
    """Everything that the features of a clip depend on, besides the bytes of its frames."""
    code = code_key([PACKAGE / "models", PACKAGE / "clips/reduce.py", Path(__file__).resolve().parent])
    said = [weight_hash(stages), job.title, job.kinds, extract.size, code]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def pool_frames(
    one: Candidate,
    computed: Mapping[str, Mapping[Kind, Features]],
    jobs: Mapping[str, Pass],
    clips: ClipDataset,
    args: Mapping[str, Any],
) -> Features:
    """Features (N, F) of all clips, as the network of the candidate `one` gives them to its head.

    `computed` and `jobs`: stream → result of `compute_pass` and its pass.
    """
    pool = TimePool(args.get("pool", "mean_std"))
    rows = []
    streams = [(jobs[stream], computed[stream][one.depth, one.grid]) for stream in streams_of(one)]
    first = 0
    for length in clips.lengths:
        have = streams[0][0].frames(length)
        count, wanted = len(have), kept_frames(length, one.frames)
        frames = [array[first : first + count][[have.index(i) for i in wanted]] for _, array in streams]
        cells = [array.reshape(len(array), one.grid**2, -1) for array in frames]
        rows.append(pool(torch.from_numpy(np.concatenate(cells, 2).reshape(1, len(wanted), -1)))[0])
        first += count
    return torch.stack(rows).numpy()


def _compute(
    job: Pass, some: Sequence[int], clips: ClipDataset, extract: ExtractParams, stages: "PooledStages"
) -> Iterator[tuple[int, Features]]:
    """Each index of `some` clips with its features (frames, C of all kinds)."""
    if not some:
        return
    batch = max(1, BATCH_PIXELS // (job.size[0] * job.size[1]))
    shape = (batch, 3 if job.stream == "rgb" else 2, *job.size)
    network = compile_network(stages, shape, threads=cores())
    reduction = Reduction(size=None if job.size == extract.size else job.size, streams=job.stream)
    begun: deque[tuple[int, int]] = deque()  # clips, and how many frames each has
    waiting, made = np.empty((0, *shape[1:]), np.uint8), np.empty((0, sum(stages.widths)), np.float32)
    for number, index in enumerate(progress_bar(some, f"features {job.title}", len(some)), 1):
        wanted = job.frames(clips.lengths[index])
        begun.append((index, len(wanted)))
        frames = reduce_pictures(clips.all_frames(index)[wanted], reduction).transpose(0, 3, 1, 2)
        waiting = np.concatenate((waiting, frames))
        while len(waiting) >= batch or (number == len(some) and len(waiting)):
            full = np.zeros(shape, np.uint8)  # the network is compiled for full batches
            count = min(batch, len(waiting))
            full[:count], waiting = waiting[:count], waiting[count:]
            made = np.concatenate((made, network(full)[:count]))
        while begun and len(made) >= begun[0][1]:
            index, count = begun.popleft()
            yield index, made[:count]
            made = made[count:]


class PooledStages(nn.Module):
    """Frames (N, C, H, W) uint8 to the maps of each kind of a pass, averaged over their cells.

    The averages are put together: (N, sum of C). `widths` are their numbers, one of each kind.
    """

    def __init__(self, job: Pass, args: Mapping[str, Any]) -> None:
        super().__init__()
        kept = {"pretrained": args["pretrained"]} if "pretrained" in args else {}
        deepest = job.kinds[-1][0]
        net = create_model(
            ONE_STREAM, 2, backbone=job.backbone, stream=job.stream, depth=deepest, **kept
        ).eval()
        assert isinstance(net, FrameStream)
        self.normalise, self.stages, self.kinds = net.normalise, net.backbone.stages, job.kinds
        with torch.inference_mode():
            means = self.means(torch.zeros(1, 3 if job.stream == "rgb" else 2, 64, 64))
            self.widths = [x.shape[1] for x in means]

    def forward(self, frames: Tensor) -> Tensor:
        return torch.cat(self.means(frames), 1)

    def means(self, frames: Tensor) -> list[Tensor]:
        x, found = self.normalise(frames), []
        for depth, stage in enumerate(self.stages):  # the stem is stage 0
            x = stage(x)
            found += [GridMean(grid)(x) for wanted, grid in self.kinds if wanted == depth]
        return found
