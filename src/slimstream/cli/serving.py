"""The commands `predict` and `watch`, which a bundle has, too: `slimstream.cli.edge`.

At import nothing but Python's own library is needed.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from slimstream.core.paths import Paths, printable_path
from slimstream.runtimes import RUNTIMES

Add = Callable[[str, str, object], argparse.ArgumentParser]
"""Adds a command: its name, what it does, the function behind it."""
PUBLIC_KEY = "SLIMSTREAM_PUBLIC_KEY"


def add_commands(add: Add, usual: str = "params.yaml") -> None:
    """Add the two commands with their options; `usual` says where the usual model comes from."""
    predict = add("predict", "predict clips with a deployed model: labels and probabilities", run_predict)
    predict.add_argument("files", type=Path, nargs="+", metavar="CLIP", help="videos, pictures or folders")
    predict.add_argument(
        "--model",
        help="a registered model for its champion, NAME/VERSION, exports/MODEL or a bundle "
        f"(default: {usual})",
    )
    predict.add_argument(
        "--runtime", choices=RUNTIMES, help="what runs it (default: what the export stage chose)"
    )
    predict.add_argument("--json", action="store_true", help="JSON instead of CSV")
    predict.add_argument("--out", type=Path, help="write there (default: the terminal)")
    predict.add_argument(
        "--overlay",
        type=Path,
        metavar="FOLDER",
        help="draw label, probability and what they depend on into copies of the clips there; 50 more calls "
        "of the network a clip",
    )
    predict.add_argument("--batch", type=positive, default=32, help="pictures per batch (default: 32)")
    predict.add_argument("--workers", type=positive, help="processes (default: one a core)")
    watch = add("watch", "classify live cameras, and tell every change of a state", run_watch)
    watch.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="rtsp://…, http://…, a file, a folder that fills, /dev/video0 or rig://NUMBER "
        "(default: the cameras of --settings)",
    )
    watch.add_argument(
        "--settings", type=Path, metavar="FILE", help="YAML: cameras, states, MQTT: docs/watch.md"
    )
    watch.add_argument(
        "--model", help="as for predict; of a registered model, every new champion takes over by itself"
    )
    watch.add_argument("--runtime", choices=RUNTIMES, help="as for predict")
    watch.add_argument(
        "--host", default="127.0.0.1", help="address of the page (default: this computer only)"
    )
    watch.add_argument(
        "--port", type=int, default=8780, help="port of the page (default: 8780; 0: a free one)"
    )
    for command in (predict, watch):
        add_public_key(command)


def add_public_key(command: argparse.ArgumentParser) -> None:
    """Add the option that a signature is checked with."""
    told = os.environ.get(PUBLIC_KEY)
    command.add_argument(
        "--public-key",
        type=Path,
        metavar="FILE",
        default=Path(told) if told else None,
        help=f"PEM: a bundle must be signed with its private key (default: {PUBLIC_KEY}; without, a "
        "signature is not looked at)",
    )


def positive(text: str) -> int:
    """A number of an option that is 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def run_predict(args: argparse.Namespace, paths: Paths) -> int:
    """Predict clips with a deployed model. Returns 1 when a clip could not be predicted or drawn on."""
    from slimstream.core.overwrite import check_overwrite
    from slimstream.serving import overlay
    from slimstream.serving import predict as serving

    if args.out:
        check_overwrite(args.out, *serving.TABLE_HEADS)
    if args.overlay:
        overlay.check_folder(args.overlay)
    files = serving.find_clips(args.files)
    model = serving.deployed_model(args.model or _registered(paths), paths, args.public_key)
    if args.out:  # before the work: a path that cannot be written is found at once
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.touch()
    answers = serving.predict(files, model, args.runtime, batch=args.batch, workers=args.workers)
    said = serving.as_json(answers) if args.json else serving.as_csv(answers)
    if args.out:
        args.out.write_text(said)
    else:
        print(said, end="")
    bad = [answer for answer in answers if answer["label"] is None]
    for answer in bad:
        print(f"slimstream predict: {answer['path']}: {answer['error']}", file=sys.stderr)
    undrawn = {}
    if args.overlay:
        undrawn = overlay.write_overlays(files, answers, model, args.runtime, args.overlay, args.workers)
    for file, error in undrawn.items():
        print(
            f"slimstream predict: {printable_path(file)} is not in {args.overlay}: {error}", file=sys.stderr
        )
    return 1 if bad or undrawn else 0


def run_watch(args: argparse.Namespace, paths: Paths) -> int:
    """Watch cameras until they end or until interrupted. Returns 1 if one of ended files has no answer."""
    from slimstream.cli.memory import share_memory
    from slimstream.core.parallel import cores
    from slimstream.watch.champion import Champion
    from slimstream.watch.page.server import serving
    from slimstream.watch.secrets import PASSWORD, secret
    from slimstream.watch.settings import load_settings
    from slimstream.watch.watcher import Watcher

    share_memory(cores())
    settings = load_settings(args.settings, args.sources)
    wanted = args.model or settings.model or _registered(paths)
    champion = Champion(wanted, paths, args.runtime, settings.window, args.public_key)
    watcher = Watcher(settings, champion, paths)
    with serving(watcher, args.host, args.port, secret(PASSWORD, paths.root)) as page, watcher.running():
        print(
            f"watch: {champion.model.name} looks at {', '.join(watcher.cameras)}; the page is {page}",
            file=sys.stderr,
        )
        with suppress(KeyboardInterrupt):
            return int(watcher.wait())
    return 0


def _registered(paths: Paths) -> str:
    """The registered model of params.yaml."""
    from slimstream.pipeline.params import load_params

    return load_params(paths.params).publish.name
