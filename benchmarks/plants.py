"""`python -m benchmarks.plants`: the pictures of docs/plants.md, a sheet of each simulated plant."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from slimstream.stages.ingest.plants import bench, pellets, rig
from slimstream.stages.ingest.plants.clip import Picture

OUT = Path(__file__).parents[1] / "docs"
TITLE = 96  # pixels on the left of a row


def sheet(rows: Sequence[tuple[str, Sequence[Picture]]]) -> Picture:
    """Rows of pictures of one size, each with its title on the left: (H, W, 3) uint8."""
    drawn = []
    for title, pictures in rows:
        head = np.full((pictures[0].shape[0], TITLE, 3), 255, np.uint8)
        place = (6, head.shape[0] // 2)
        cv2.putText(head, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 40, 40), 1, cv2.LINE_AA)
        drawn.append(np.hstack([head, *pictures]))
    return np.vstack(drawn)


def strip(frames: Iterator[Picture], count: int) -> list[Picture]:
    """`count` of the frames, spread evenly, 120 pixels high."""
    every = list(frames)
    chosen = [every[int((n + 0.5) / count * len(every))] for n in range(count)]
    return [cv2.resize(frame, (160, 120), interpolation=cv2.INTER_AREA) for frame in chosen]


def rig_sheet(frames: int = 6, seconds: float = 1.0) -> Picture:
    """A clip of each state, each of another recording."""
    clips = [rig.RigClip(n, state, 0, seconds, 12.0, 0) for n, state in enumerate(rig.STATES)]
    return sheet([(clip.state, strip(rig.render(clip), frames)) for clip in clips])


def bench_sheet(frames: int = 8, seconds: float = 10.0) -> Picture:
    """A clip of each action, each of another person."""
    clips = [bench.BenchClip(n, action, 0, 0, seconds, 3.0, 0) for n, action in enumerate(bench.ACTIONS)]
    return sheet([(clip.action, strip(bench.render(clip), frames)) for clip in clips])


def pellet_sheet(batches: int = 5, each: int = 10) -> Picture:
    """Pictures of both classes of some batches, twice as large."""
    rows = []
    for quality in pellets.CLASSES:
        for batch in range(batches):
            clips = (pellets.PelletClip(batch, quality, number, 0) for number in range(each))
            pictures = [cv2.cvtColor(pellets.render(clip), cv2.COLOR_GRAY2BGR) for clip in clips]
            rows.append(
                (f"{quality}, batch {batch}", [picture.repeat(2, 0).repeat(2, 1) for picture in pictures])
            )
    return sheet(rows)


def main() -> None:
    for name, picture in (("rig", rig_sheet()), ("bench", bench_sheet()), ("pellets", pellet_sheet())):
        file = OUT / f"{name}.jpg"
        cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
        print(file)


if __name__ == "__main__":
    main()
