"""The extract stage on tiny clips: what it writes, what a kill leaves behind, what new clips cost."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slimstream.clips.packs import PackJob, pack_clip
from slimstream.clips.params import ExtractParams
from slimstream.core import fingerprint
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.extract import stage as extract
from tests.unit.clips.rendered_clips import boxed, moving, write_video

EXTRACT = ExtractParams(frames=4, size=(32, 48))
PARAMS = Params(extract=EXTRACT)
SCRIPT = """
import sys
from pathlib import Path
from slimstream.clips.params import ExtractParams
from slimstream.core.paths import Paths
from slimstream.stages.extract.stage import run
extract = ExtractParams(frames=4, size=(32, 48))
print(run(extract, Paths(Path(sys.argv[1])), lambda metrics, step: None))
"""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned processes are what most of a tiny extraction would take."""

    def each(work: Callable[[PackJob], None], jobs: list[PackJob]) -> Iterator[tuple[int, Exception | None]]:
        for position, job in enumerate(jobs):
            try:
                yield position, work(job)  # type: ignore[func-returns-value]
            except Exception as error:
                yield position, error

    monkeypatch.setattr(extract, "parallel_map", each)


def plant(root: Path, clips: int) -> Paths:
    """`clips` clips below `root`, every third with a pillar-boxed first frame, and their clips.parquet."""
    paths = Paths(root)
    paths.ingested.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(clips):
        path = paths.ingested / f"clip-{number}.avi"
        if not path.exists():
            pictures = moving([(number, index) for index in range(12)], 48, 64)
            pictures[0] = boxed(pictures[0], left=16) if number % 3 == 0 else pictures[0]
            write_video(path, pictures)
        rows.append(
            {"id": f"{number}", "path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        )
    pd.DataFrame(rows).to_parquet(paths.clips)
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def work(paths: Paths) -> list[Path]:
    return sorted(paths.resume_folder("extract", "").glob("*/*"))


def test_packs_index_and_metrics(tmp_path: Path) -> None:
    paths = plant(tmp_path, 4)
    metrics = STAGES["extract"].run(PARAMS, paths, null_log)
    assert {path.name for path in paths.packs.iterdir()} == {*(f"{n}.npy" for n in range(4)), "index.parquet"}
    index = pd.read_parquet(paths.packs / "index.parquet")
    assert index.to_dict("list") == {
        "id": ["0", "1", "2", "3"],
        "clip": [0] * 4,
        "file": [f"{number}.npy" for number in range(4)],
        "first": [0] * 4,
        "frames": [4] * 4,
        "dropped": [1, 0, 0, 1],
        "seconds": [pytest.approx(12 / 25)] * 4,
    }
    assert index.attrs == EXTRACT.model_dump(mode="json"), "bound and stride travel with the packs"
    for number in range(4):
        expected = pack_clip(paths.ingested / f"clip-{number}.avi", EXTRACT).array
        assert np.array_equal(np.load(paths.packs / f"{number}.npy", mmap_mode="r"), expected)
    assert metrics.pop("clips_per_second") > 0 and 0 <= metrics.pop("flow_saturation") < 0.1
    assert metrics == {
        "clips": 4,
        "frames": 16,
        "seconds": pytest.approx(4 * 12 / 25),
        "megabytes": pytest.approx(4 * (4 * 32 * 48 * 5 + 128) / 1e6),
        "dropped_leading_frames": 2,
        "extracted": 4,
    }


@pytest.mark.usefixtures("one_process")  # all but what is killed
def test_kill_9_then_resume_gives_the_same_packs_without_doing_them_twice(tmp_path: Path) -> None:
    clips = 24
    whole, cut = plant(tmp_path / "whole", clips), plant(tmp_path / "cut", clips)
    STAGES["extract"].run(PARAMS, whole, null_log)

    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(cut.root)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # its workers are its group: none may outlive it
    )
    while not [path for path in work(cut) if path.suffix == ".json"]:
        assert process.poll() is None, "extraction ended before it could be killed"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not cut.packs.exists()
    deadline = time.monotonic() + 30
    while _alive(process.pid):
        assert time.monotonic() < deadline, "workers outlive the killed stage"
        time.sleep(0.05)
    (work(cut)[0].parent / "temporary-1-half.npy").write_bytes(b"left behind")

    done = {path: path.stat().st_mtime_ns for path in work(cut) if path.suffix == ".json"}
    assert 0 < len(done) < clips
    metrics = STAGES["extract"].run(PARAMS, cut, null_log)
    assert metrics["extracted"] == clips - len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert contents(cut.packs) == contents(whole.packs)
    assert not [path for path in work(cut) if "temporary" in path.name]


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("one_process")
def test_a_grown_data_set_costs_its_new_clips_alone(tmp_path: Path) -> None:
    paths = plant(tmp_path, 3)
    STAGES["extract"].run(PARAMS, paths, null_log)
    before = contents(paths.packs)
    assert STAGES["extract"].run(PARAMS, plant(tmp_path, 5), null_log)["extracted"] == 2
    after = contents(paths.packs)
    assert len(after) == 6 and all(after[f"{number}.npy"] == before[f"{number}.npy"] for number in range(3))
    assert STAGES["extract"].run(PARAMS, plant(tmp_path, 2), null_log)["extracted"] == 0
    assert len(contents(paths.packs)) == 3
    assert len(work(paths)) == 2 * 2, "what is no longer used does not fill the disk"


@pytest.mark.usefixtures("one_process")
def test_other_settings_extract_anew_and_clear_the_old(tmp_path: Path) -> None:
    paths = plant(tmp_path, 2)
    STAGES["extract"].run(PARAMS, paths, null_log)
    other = Params(extract=EXTRACT.model_copy(update={"stride": 2}))
    assert STAGES["extract"].run(other, paths, null_log)["extracted"] == 2
    assert len({path.parent for path in work(paths)}) == 1


@pytest.mark.usefixtures("one_process")
def test_other_code_of_this_stage_extracts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = plant(tmp_path, 2)
    STAGES["extract"].run(PARAMS, paths, null_log)
    known = fingerprint.stage_code
    monkeypatch.setattr(fingerprint, "stage_code", lambda s: "new" if s == "evaluate" else known(s))
    assert STAGES["extract"].run(PARAMS, paths, null_log)["extracted"] == 0
    monkeypatch.setattr(fingerprint, "stage_code", lambda s: "new" if s == "extract" else known(s))
    assert STAGES["extract"].run(PARAMS, paths, null_log)["extracted"] == 2


@pytest.mark.usefixtures("one_process")
def test_another_run_in_the_same_cache_keeps_its_work(tmp_path: Path) -> None:
    import fcntl

    paths = plant(tmp_path, 1)
    theirs = paths.resume_folder("extract", "0123456789abcdef") / "half-done.npy"
    mine = (
        paths.resume_folder("extract", "the thesis") / "chapter.tex"
    )  # SLIMSTREAM_CACHE may name any folder
    for file in (theirs, mine):
        file.parent.mkdir(parents=True)
        file.touch()
    with (theirs.parents[1] / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        STAGES["extract"].run(PARAMS, paths, null_log)
        assert theirs.exists()
    STAGES["extract"].run(PARAMS, paths, null_log)
    assert not theirs.exists() and mine.exists()


@pytest.mark.usefixtures("one_process")
def test_emptying_or_spoiling_the_out_leaves_the_work_whole(tmp_path: Path) -> None:
    paths = plant(tmp_path, 2)
    STAGES["extract"].run(PARAMS, paths, null_log)
    before = contents(paths.packs)
    for path in paths.packs.glob("*.npy"):
        assert path.stat().st_nlink == 2 and path.stat().st_mode & 0o222 == 0
        path.unlink()
    assert STAGES["extract"].run(PARAMS, paths, null_log)["extracted"] == 0
    assert contents(paths.packs) == before


@pytest.mark.usefixtures("one_process")
def test_a_torn_work_file_is_done_again(tmp_path: Path) -> None:
    paths = plant(tmp_path, 2)
    STAGES["extract"].run(PARAMS, paths, null_log)
    before = contents(paths.packs)
    torn = next(path for path in work(paths) if path.suffix == ".npy")
    data = torn.read_bytes()
    torn.unlink()
    torn.write_bytes(data[:-10])
    assert STAGES["extract"].run(PARAMS, paths, null_log)["extracted"] == 1
    assert contents(paths.packs) == before


def test_bad_clips_are_named_after_the_others_are_done(tmp_path: Path) -> None:
    paths = plant(tmp_path, 4)
    (paths.ingested / "clip-1.avi").write_bytes(b"no video" * 99)
    (paths.ingested / "clip-2.avi").unlink()
    with pytest.raises(
        UserError, match=r"^2 of 4 clips .*clip-1.avi \(no video.*clip-2.avi \(the file is miss"
    ):
        STAGES["extract"].run(PARAMS, paths, null_log)
    assert not paths.packs.exists()
    assert len([path for path in work(paths) if path.suffix == ".json"]) == 2


@pytest.mark.usefixtures("one_process")
def test_too_long_a_stride_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    params = Params(extract=EXTRACT.model_copy(update={"stride": 12}))
    with pytest.raises(UserError, match="stride of 12"):
        STAGES["extract"].run(params, plant(tmp_path, 1), null_log)


def test_no_space_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = plant(tmp_path, 1)
    full = OSError(28, "No space left on device", "somewhere")
    monkeypatch.setattr(extract, "parallel_map", lambda work, jobs: [(0, full)])
    with pytest.raises(UserError, match="no space left: free some"):
        STAGES["extract"].run(PARAMS, paths, null_log)
