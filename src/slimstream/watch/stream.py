"""Frames of a live stream (RTSP, HTTP) by PyAV, each decoded once and with the bytes of `clips.video`."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import av

from slimstream.clips.container import CONTAINERS, largest_track
from slimstream.clips.deinterlace import deinterlaced
from slimstream.clips.rgb import RgbConverter
from slimstream.core.media import UnreadableVideo
from slimstream.watch.late import Lateness
from slimstream.watch.packets import Packets
from slimstream.watch.recording import Shots

OPTIONS = {
    "format_whitelist": f"{CONTAINERS},rtsp,rtp,sdp,mpjpeg,hls",
    # No `file`: a playlist of another computer must not name files of this one.
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto,hls",
    "rtsp_transport": "tcp",  # a lost packet of UDP would damage frames up to the next key frame
}
PATIENCE = 10.0
"""Seconds that a stream may take to open or to send, and frames may stay away while packets come."""
MPJPEG = "mpjpeg"
"""JPEG pictures over HTTP: they have no timestamps, and FFmpeg invents some at a constant rate."""


def stream_shots(address: str, lateness: Lateness, packets: Packets | None = None) -> Shots:
    """The frames of the stream at `address` from now to its end, timed by its clock or, without, by arrival.

    Damaged frames, and those predicted from them, are left out; so are packets while other streams have
    their turn and, of a stream with a clock, when the machine is too slow: `lateness` knows. All
    others are put into `packets`. Raises UnreadableVideo and av.error.FFmpegError, whose message may hold the
    address.
    """
    container: Any = av.open(
        address, options=OPTIONS, timeout=(PATIENCE, PATIENCE), metadata_errors="replace"
    )
    try:
        stream, rgb = largest_track(container), RgbConverter()
        if packets:
            packets.open(stream)
        kind = container.format
        clockless = kind.name == MPJPEG or kind.flags & av.format.Flags.no_timestamps.value
        for frame in deinterlaced(_whole_frames(container, stream, lateness, clockless, packets)):
            seconds = time.monotonic() if clockless else frame.time
            if seconds is None:  # an RTSP server may begin without
                continue
            if packets:
                packets.show(frame.time, seconds)
            yield seconds, partial(rgb.picture, frame)
    finally:
        container.close()


def _whole_frames(
    container: Any, stream: Any, lateness: Lateness, clockless: bool, kept: Packets | None
) -> Iterator[av.VideoFrame]:
    spoilt, skipped, last = False, False, time.monotonic()
    for packet in container.demux(stream):
        now = time.monotonic()
        if now - last > PATIENCE:
            raise UnreadableVideo("packets come, but no whole frame")
        if clockless:
            left_out = not lateness.in_turn()
        else:
            left_out = packet.dts is not None and lateness.leaves_out(
                now, float(packet.dts * packet.time_base), packet.is_keyframe
            )
        if left_out:
            skipped, last = True, now
            continue
        if kept and packet.size:
            stamp = packet.dts if packet.pts is None else packet.pts
            begins = now if clockless else float("inf") if stamp is None else float(stamp * packet.time_base)
            kept.add(packet, begins)
        if skipped:
            stream.codec_context.flush_buffers()
            spoilt = skipped = False
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            spoilt = True
            continue
        for frame in frames:
            spoilt = frame.is_corrupt or (spoilt and not frame.key_frame)
            if not spoilt:
                last = now
                yield frame
