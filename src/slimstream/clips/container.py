"""The file that a video is in: its tracks, their packets, and how long it claims to be."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from slimstream.core.media import UnreadableVideo

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,mxf,yuv4mpegpipe,h264,hevc,m4v,"
    "mjpeg,ogg,dv,ivf,obu,nut"
)
"""Names of FFmpeg's demuxers. Not among them: lists that name other files, such as HLS and concat."""


def open_container(path: Path) -> tuple[Any, Any]:
    """The container and its largest video track. Raises UnreadableVideo."""
    # The name in full, or FFmpeg would take what is before a colon in it for a protocol.
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise UnreadableVideo("no video stream can be opened") from error
    streams = [
        s
        for s in container.streams.video
        if s.codec_context is not None and not s.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        container.close()
        raise UnreadableVideo("there is no video track in it that can be decoded")
    stream = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height)
    stream.codec_context.thread_count = 1  # parallelism is one process per core, never threads within a clip
    if stream.codec_context.name == "mjpeg":  # it alone hands out damaged frames without saying so
        stream.codec_context.options = {"err_detect": "explode"}
    return container, stream


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets of the track up to where the file ends or cannot be read further; the last one is empty."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        last = av.Packet()
        last.stream = stream
        yield last


def claimed_duration(container: Any, stream: Any) -> float:
    """Seconds that the track claims to last; 0 where nothing in the header is about this track."""
    name = container.format.name
    if name in ("mpegts", "mpeg"):
        return 0.0  # they have no header: this is the difference of timestamps, and clocks are set anew
    if name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # its duration is that of the file as it is
    if stream.duration:
        return float(stream.duration * stream.time_base)
    start = float(max(0, stream.start_time or 0) * stream.time_base)
    late = (
        start if name.startswith("matroska") else 0.0
    )  # there lengths count from zero, not from the first frame
    if said := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, seconds = said.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - late
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base) - late
    return 0.0
