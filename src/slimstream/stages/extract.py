"""extract: every accepted clip becomes one memory-mapped pack of RGB frames and dense optical flow, in step.

What is done lies in a work folder named by the hash of all that a pack depends on beside the clip, each pack
by its clip's sha256: a killed run goes on where it was, and of a grown data set only new clips are extracted.
The packs of the out are hard links to it, which costs no space until DVC puts copies in their place; what a
finished run did not use is removed.
"""

import errno
import fcntl
import hashlib
import inspect
import shutil
import time
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pandas as pd

from slimstream.data import flow, packs, video
from slimstream.data.packs import Job, pack
from slimstream.data.pool import Crashed, each
from slimstream.errors import UserError
from slimstream.params import Extract, Params
from slimstream.paths import Paths
from slimstream.progress import Log, bar

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.extract
    clips = pd.read_parquet(paths.clips)
    work = paths.work("extract", _key(p))
    work.mkdir(parents=True, exist_ok=True)
    with (work.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # worktrees may share a cache: see _tidy
        jobs = {
            sha256: Job(paths.raw / path, work / sha256, p)
            for sha256, path in zip(clips["sha256"].tolist(), clips["path"].tolist(), strict=True)
        }
        start = time.perf_counter()
        extracted = _extract(list(jobs.values()))
        seconds = time.perf_counter() - start

        facts = pd.DataFrame([jobs[sha256].facts() for sha256 in clips["sha256"]])
        try:
            _assemble(clips, facts, work, paths.packs, p)
        except OSError as error:
            raise _no_space(error, paths.packs) from None
        _tidy(work, set(jobs), lock)
    return {
        "clips": len(clips),
        "frames": float(facts["frames"].sum()),
        "seconds": float(facts["seconds"].sum()),
        "megabytes": sum(path.stat().st_size for path in paths.packs.glob("*.npy")) / 1e6,
        "dropped_leading_frames": float(facts["dropped"].sum()),
        "flow_saturation": float(np.average(facts["saturation"], weights=facts["frames"])),
        "extracted": extracted,
        "clips_per_second": extracted / seconds,
    }


def _extract(jobs: list[Job]) -> int:
    """Do what is not done yet and return how much that was. Raises UserError naming the clips that failed."""
    todo = [job for job in jobs if job.facts() is None]
    if len(todo) < len(jobs):
        print(f"extract: {len(jobs) - len(todo)} of {len(jobs)} clips are already packed.")
    failed = []
    for position, result in bar(each(pack, todo), "extract", len(todo)) if todo else ():
        job = todo[position]
        if isinstance(result, video.UnreadableVideo | ValueError | cv2.error | Crashed):
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


def _assemble(clips: pd.DataFrame, facts: pd.DataFrame, work: Path, out: Path, p: Extract) -> None:
    """Fill the folder of packs anew and write its index, the settings in its `attrs`."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    for id_, sha256 in zip(clips["id"], clips["sha256"], strict=True):
        source, target = work / f"{sha256}.npy", out / f"{id_}.npy"
        try:
            target.hardlink_to(source)
        except OSError:  # another file system
            shutil.copyfile(source, target)
    index = facts[["frames", "dropped", "seconds"]]
    index.insert(0, "id", clips["id"].to_numpy())
    index.attrs.update(p.model_dump(mode="json"))
    index.to_parquet(out / "index.parquet")


def _tidy(work: Path, used: set[str], lock: IO[str]) -> None:
    """Remove what this run did not use, unless another run is at work in the same cache: it will tidy up."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    for folder in work.parent.iterdir():
        if folder.is_dir() and folder != work:
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


def _key(p: Extract) -> str:
    """Hash of all that a pack depends on beside its clip: settings, code, and OpenCV, which decodes."""
    digest = hashlib.sha256(f"{p.model_dump_json()} {cv2.__version__}".encode())
    for module in (video, flow, packs):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:16]
