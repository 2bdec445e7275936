"""Description of the input of a deployed network, for people and programs: preprocessing.json."""

from typing import Any

from slimstream.models.checkpoint import Card


def preprocessing(card: Card, clip: tuple[int, ...], seconds: float | None = None) -> dict[str, Any]:
    """Description of the network's input and output, for people and programs; written to preprocessing.json.

    `clip` is the shape (1, T, C, H, W) of a batch; `seconds` is the usual length of the clips that it learnt
    from, where that is known.
    """
    p = card.network_input
    flow = ["flow x", "flow y"]
    channels = {1: ["grey"], 2: flow, 3: ["r", "g", "b"], 5: ["r", "g", "b", *flow]}[p.channels]
    height, width = p.size
    steps = [
        "Decode every frame in order; leave out leading frames whose black border differs from the usual.",
        *([f"Of pictures with 16 bits take the lower {p.bits}, and of these the upper 8."] if p.bits else []),
        f"Resize to {width} × {height} pixels by area averaging, whatever the aspect ratio; RGB order.",
        *(["Turn the resized picture grey (0.299 r + 0.587 g + 0.114 b), one channel."] if p.grey else []),
        f"Sample {f'{p.frames} frames' if p.frames else f'{p.fraction:.0%} of the frames'} at equal distances"
        + (f" from each of {p.clips} equal parts, which are clips of their own." if p.clips > 1 else "."),
    ]
    if p.reduce is not None and p.reduce.frames is not None:
        steps += [f"Of these keep {p.reduce.frames}, evenly from the first to the last (of one: the middle)."]
    if p.sees_flow:
        steps += [
            f"Dense optical flow ({p.flow}) of the resized grey frames, from each sampled frame to the one "
            f"{p.stride} later, in pixels: round(clip(v, ±{p.bound:g}) / {p.bound:g} · 127) + 128.",
        ]
    if p.shown_size != p.size:
        height, width = p.shown_size
        again = f"Resize once more to {width} × {height} pixels by area averaging"
        steps += [again + ("; the bytes of flow keep their scale." if p.sees_flow else ".")]
    return {
        "classes": card.classes,
        "extract": card.input,
        "seconds": seconds,
        "steps": steps,
        "input": {
            "name": "clip",
            "type": "uint8",
            "shape": ["batch", "frames", *clip[2:]],
            "channels": channels,
            "normalisation": "inside the network: give it bytes",
        },
        "output": {
            "name": "logits",
            "type": "float32",
            "shape": ["batch", len(card.classes)],
            "meaning": "softmax gives the classes' probabilities; those of a video's clips are averaged",
        },
        "reference": "slimstream.clips.packs.pack_clip",
    }
