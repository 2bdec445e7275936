"""Container files of videos: their tracks, packets and claimed duration."""

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
"""Names of allowed FFmpeg demuxers, without those for lists of other files, such as HLS and concat."""


def open_container(path: Path) -> tuple[Any, Any]:
    """The container and its largest video track. Raises UnreadableVideo when there is none."""
    # An absolute path: in a relative one FFmpeg takes the text before a colon for a protocol.
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise UnreadableVideo("no video stream can be opened") from error
    return container, largest_track(container)


def largest_track(container: Any) -> Any:
    """The largest video track, set up for decoding. Closes it and raises UnreadableVideo if there is none."""
    streams = [
        s
        for s in container.streams.video
        if s.codec_context is not None and not s.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        container.close()
        raise UnreadableVideo("there is no video track in it that can be decoded")
    stream = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height)
    stream.codec_context.thread_count = 1  # clips are decoded in parallel by processes, not by threads
    if stream.codec_context.name == "mjpeg":  # by default its decoder does not mark damaged frames
        stream.codec_context.options = {"err_detect": "explode"}
    return stream


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets of the track up to the end of the file or to a read error; the last packet is empty."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        yield empty_packet(stream)


def empty_packet(stream: Any) -> Any:
    """The packet after which a decoder returns all frames that it still has."""
    packet = av.Packet()
    packet.stream = stream
    return packet


def claimed_duration(container: Any, stream: Any) -> float:
    """Duration of the track in seconds by the header; 0 where the header has none for this track."""
    name = container.format.name
    if name in ("mpegts", "mpeg"):
        return 0.0  # no header: FFmpeg takes the difference of timestamps, and clocks may restart
    if name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # stream.duration is that of the present data
    if stream.duration:
        return float(stream.duration * stream.time_base)
    start = float(max(0, stream.start_time or 0) * stream.time_base)
    late = (
        start if name.startswith("matroska") else 0.0
    )  # its durations count from zero, not from the first frame
    if said := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, seconds = said.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - late
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base) - late
    return 0.0
