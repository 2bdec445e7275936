"""The simulated plants as sources: fetching a clip renders it."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from slimstream.catalog.listing import FileStat, Item, Listing
from slimstream.core.parallel import cores, process_pool
from slimstream.core.simulated import SIMULATED
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.plants.bench import bench_clips
from slimstream.stages.ingest.plants.clip import SimulatedClip
from slimstream.stages.ingest.plants.pellets import pellet_clips
from slimstream.stages.ingest.plants.rig import rig_clips

PLANTS: dict[str, Callable[[IngestParams], Sequence[SimulatedClip]]] = {
    "rig": lambda p: rig_clips(p.rig.recordings, p.rig.clips, p.rig.seconds, p.rig.fps, p.rig.seed),
    "bench": lambda p: bench_clips(p.bench),
    "pellets": lambda p: pellet_clips(p.pellets),
}
"""Every clip of a plant with these settings. More groups or more clips do not change the other clips."""
MANY_CLIPS = 48


class PlantSource:
    """The simulated plant `name`.

    Many clips are rendered by a process per core, few by this one: processes take a second to start.
    """

    def __init__(self, name: str, params: IngestParams) -> None:
        self.name = name
        self.clips = {clip.key: clip for clip in PLANTS[name](params)}
        self.workers = cores() if len(self.clips) >= MANY_CLIPS else 1
        self._pool = process_pool(self.workers) if self.workers > 1 else None

    def list(self) -> Listing:
        items = [
            Item(key, clip.label, FileStat(0, clip.etag), clip.groups)
            for key, clip in sorted(self.clips.items())
        ]
        return Listing(items, {})

    def outdated(self, listing: Listing) -> bool:
        return listing != self.list()

    def fetch(self, key: str, stat: FileStat, target: Path) -> None:
        if self._pool is None:
            self.clips[key].write(target)
        else:
            self._pool.submit(self.clips[key].write, target).result()


def near_plant(name: str) -> str:
    """The simulated plant that a user who wrote `name` may have meant, or ''."""
    return next(iter(get_close_matches(name.lower(), SIMULATED)), "")
