"""extract: pack every accepted clip into a memory-mapped array of RGB frames with their dense optical flow.

Pictures are resized and packed without flow. Packs hold bytes; all normalisation (zero mean, unit variance)
is done by the network. Packs of one frame, such as those of pictures, share one file, because DVC is much
faster with one file than with thousands.

Finished packs are kept in a work folder whose name is the hash of everything but the clip that a pack depends
on. A pack is named by its clip's SHA-256. So a killed run continues, and when clips are added only these are
extracted. The packs in the stage's output are hard links to the work folder, which take no space until DVC
replaces them by copies. Packs that a finished run did not use are removed.

With SLIMSTREAM_DASK the clips are packed by the workers of a Dask cluster, which must see the project's
folder under the same path. The packs are the same bytes wherever they are made, so the address is not part
of the hash.
"""

import errno
import fcntl
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

import av
import cv2
import numpy as np
import pandas as pd
import simplejpeg

from slimstream.clips import (
    video,
)
from slimstream.clips.packs import SHARED, PackJob, check_flow, write_pack
from slimstream.clips.params import ExtractParams
from slimstream.core.environment import dask_address
from slimstream.core.errors import UserError
from slimstream.core.fingerprint import fingerprint
from slimstream.core.parallel import WorkerDied, parallel_map
from slimstream.core.paths import Paths
from slimstream.core.progress import Log, progress_bar
from slimstream.stages.extract.cluster import dask_map

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def run(extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Write the packs of all accepted clips and their index; returns counts, seconds and megabytes.

    Raises UserError when a clip cannot be packed or the disk is full; finished packs are kept.
    """
    clips = pd.read_parquet(paths.clips)
    check_flow(clips["path"], extract)
    work = paths.resume_folder(
        "extract", _key(extract)
    ).resolve()  # absolute: workers have another current folder
    raw = paths.ingested.resolve()
    work.mkdir(parents=True, exist_ok=True)
    with (work.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # worktrees may share a cache: see _tidy
        jobs = {
            sha256: PackJob(raw / path, work / sha256, extract)
            for sha256, path in zip(clips["sha256"].tolist(), clips["path"].tolist(), strict=True)
        }
        start = time.perf_counter()
        extracted = _extract(list(jobs.values()))
        seconds = time.perf_counter() - start

        facts = pd.DataFrame([jobs[sha256].facts() for sha256 in clips["sha256"]])
        facts["frames"] = facts["lengths"].map(sum)
        try:
            _assemble(clips, facts, work, paths.packs, extract)
        except OSError as error:
            raise _no_space(error, paths.packs) from None
        _remove_unused(work, set(jobs), lock)
    saturation = float(np.average(facts["saturation"], weights=facts["frames"]))
    return {
        "clips": float(facts["lengths"].map(len).sum()),
        "frames": float(facts["frames"].sum()),
        "seconds": float(facts["seconds"].sum()),
        "megabytes": sum(path.stat().st_size for path in paths.packs.glob("*.npy")) / 1e6,
        "dropped_leading_frames": float(facts["dropped"].sum()),
        "extracted": extracted,
        "clips_per_second": extracted / seconds,
    } | ({} if extract.flow == "none" else {"flow_saturation": saturation})


def preflight(extract: ExtractParams, keys: Iterable[str]) -> None:
    """Raise UserError when flow is asked for and a key of the source names a picture."""
    check_flow(keys, extract)


def _extract(jobs: list[PackJob]) -> int:
    """Pack the clips that are not packed yet and return their number.

    Raises UserError that names the clips that failed, or when the disk is full.
    """
    todo = [job for job in jobs if job.facts() is None]
    if len(todo) < len(jobs):
        print(f"extract: {len(jobs) - len(todo)} of {len(jobs)} clips are already packed.")
    failed = []
    for position, result in progress_bar(_results(todo), "extract", len(todo)) if todo else ():
        job = todo[position]
        if isinstance(result, video.UnreadableVideo | ValueError | cv2.error | WorkerDied):
            failed.append(f"{job.clip.name} ({result})")
        elif isinstance(result, OSError):
            raise _no_space(result, job.done.parent) from None
        elif isinstance(result, Exception):
            raise result
    if failed:
        named = ", ".join(sorted(failed)[:5]) + (f" and {len(failed) - 5} more" if len(failed) > 5 else "")
        raise UserError(
            f"{len(failed)} of {len(jobs)} clips cannot be packed: {named}; mend or remove them at the "
            "source and run again, the other clips are kept."
        )
    return len(todo)


def _results(todo: list[PackJob]) -> Iterator[tuple[int, Exception | None]]:
    """Yield (position in `todo`, None or an exception), from this machine's cores or a cluster's workers."""
    if (address := dask_address()) is None:
        yield from parallel_map(write_pack, todo)
        return
    p, work, raw = todo[0].p, todo[0].done.parent, todo[0].clip.parent
    with tempfile.NamedTemporaryFile(prefix="temporary-", dir=work) as witness:
        unfit = partial(_worker_problem, p, _key(p), [Path(witness.name), raw])
        yield from dask_map(address, write_pack, todo, unfit)


def _worker_problem(p: ExtractParams, key: str, seen: list[Path]) -> str | None:
    """Called in a worker: why it would not make the same packs as this machine; None when it would."""
    if missing := next((path for path in seen if not path.exists()), None):
        return f"does not see {missing}: give it the same file system under the same path"
    if _key(p) != key:
        own = f"OpenCV {cv2.__version__} and PyAV {av.__version__}"
        return f"has other code or libraries (its own: {own}): give it this environment"
    return None


def _assemble(clips: pd.DataFrame, facts: pd.DataFrame, work: Path, out: Path, p: ExtractParams) -> None:
    """Empty and fill the folder of packs, and write its index with the settings in `attrs`."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    index = facts[["lengths", "frames", "dropped", "seconds"]].assign(id=clips["id"].to_numpy())
    shared = index["frames"] == 1
    sources = [work / f"{sha256}.npy" for sha256 in clips["sha256"]]
    for source, id_ in zip(np.array(sources, object)[~shared], index["id"][~shared], strict=True):
        try:
            (out / f"{id_}.npy").hardlink_to(source)
        except OSError:  # another file system
            shutil.copyfile(source, out / f"{id_}.npy")
    if shared.any():
        _merge_pictures(list(np.array(sources, object)[shared]), out / SHARED, p)
    index["file"] = np.where(shared, SHARED, index["id"] + ".npy")
    index["first"] = np.where(shared, shared.cumsum() - 1, 0)
    _by_clip(index, p).to_parquet(out / "index.parquet")


def _merge_pictures(sources: list[Path], target: Path, p: ExtractParams) -> None:
    """Write one array (N, H, W, C) uint8 of N packs of one frame."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(sources), *p.size, p.channels)}
    with target.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for source in sources:  # the bytes after the header: parsing it takes longer than reading a frame
            file.write(source.read_bytes()[-p.size[0] * p.size[1] * p.channels :])


def _by_clip(index: pd.DataFrame, p: ExtractParams) -> pd.DataFrame:
    """One row per clip of a video: `clip` is its number; `first` and `frames` are its place in `file`."""
    clips = index.drop(columns="frames").explode("lengths", ignore_index=True)
    clips["frames"] = clips.pop("lengths").astype(np.int64)
    clips["clip"] = clips.groupby("id").cumcount()
    clips["first"] += clips.groupby("id")["frames"].cumsum() - clips["frames"]
    clips = clips[["id", "clip", "file", "first", "frames", "dropped", "seconds"]]
    clips.attrs.update(p.model_dump(mode="json"))
    return clips


def _remove_unused(work: Path, used: set[str], lock: IO[str]) -> None:
    """Remove packs that this run did not use, unless another run uses the same cache: that run will do it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    for folder in work.parent.iterdir():
        if re.fullmatch("[0-9a-f]{16}", folder.name) and folder.is_dir() and folder != work:
            shutil.rmtree(folder)
    for file in work.iterdir():
        if file.stem not in used:
            file.unlink()


def _no_space(error: OSError, folder: Path) -> Exception:
    if error.errno not in NO_SPACE:
        return error
    return UserError(
        f"{folder} has no space left: free some and run again, the clips packed so far are kept."
    )


def _key(p: ExtractParams) -> str:
    """Hash of everything but the clip that a pack depends on: settings, code and libraries."""
    libraries = f"{cv2.__version__} {av.__version__} {simplejpeg.__version__}"
    return fingerprint("extract", (p.model_dump_json(), libraries), ())
