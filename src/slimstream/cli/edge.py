"""The commands of a bundle: `python3 tank-3.pyz COMMAND`. The bundle itself is the model.

Its `__main__.py` calls `main`. Nothing of the bundle is used before its hashes are right, and the command
`install` needs nothing but Python's own library.
"""

import argparse
import sys
from pathlib import Path

from slimstream.cli import bundles, exits, serving
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.threads import use_passive_waiting
from slimstream.serving.sealed import Sealed


def main(bundle: Path, argv: list[str] | None = None) -> int:
    """Run one command of the file `bundle`; returns as `slimstream.cli.parser.main`."""
    args = _parser(bundle).parse_args(argv)
    use_passive_waiting()
    return exits.call(args.command, lambda: _run(args, bundle), args.root)


def _run(args: argparse.Namespace, bundle: Path) -> int | None:
    if args.command != "verify":
        Sealed(bundle)  # a damaged copy is refused before any more of its code is imported
    try:
        status: int | None = args.run(args, Paths(args.root))
        return status
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("slimstream"):
            raise UserError(
                f"{args.model} is neither a folder with a network nor a bundle, and a bundle knows no "
                "registry."
            ) from error
        raise UserError(
            f"the package {error.name} is not installed here: `python3 {bundle} install FOLDER` makes an "
            "environment with all that is needed; then call its bin/python."
        ) from error


def _parser(bundle: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{Path(sys.executable).name} {bundle.name}")
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder for what is written (default: here)"
    )
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, run: object) -> argparse.ArgumentParser:
        command = choices.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(run=run, model=str(bundle))
        return command

    serving.add_commands(add, "this bundle")
    bundles.add_verify(add, bundle)
    bundles.add_install(add, bundle)
    return parser
