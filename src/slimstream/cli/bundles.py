"""The commands about bundles: `bundle` makes one, `verify` checks one, `install` is a command of its own."""

import argparse
import platform
from functools import partial
from pathlib import Path

from slimstream.cli.serving import Add, add_public_key
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.runtimes import RUNTIMES
from slimstream.serving.sealed import Sealed


def add_commands(add: Add) -> None:
    """Add the commands that `python -m slimstream` has."""
    bundle = add("bundle", "put a version into one file that runs on its own: docs/edge.md", _bundle)
    bundle.add_argument("model", help="NAME/VERSION, a registered model for its champion, or exports/MODEL")
    bundle.add_argument("--out", type=Path, metavar="FILE", help="the bundle (default: NAME-VERSION.pyz)")
    bundle.add_argument("--force", action="store_true", help="write over it if it is there")
    bundle.add_argument("--key", type=Path, metavar="FILE", help="PEM: the private key to sign with")
    bundle.add_argument(
        "--runtime", choices=RUNTIMES, help="what runs it (default: what the export stage chose)"
    )
    bundle.add_argument(
        "--wheels",
        nargs="?",
        const=platform.machine(),
        metavar="MACHINE",
        help="download the packages into it, for a Linux on this processor or on x86_64 or aarch64, so that "
        "it can be installed without a network",
    )
    add_verify(add)


def add_verify(add: Add, default: Path | None = None) -> None:
    """Add `verify`; in a bundle this one is the `default`."""
    verify = add("verify", "check the hashes of a bundle and, with a key, its signature", _verify)
    verify.add_argument("bundle", type=Path, nargs="?" if default else None, default=default)
    add_public_key(verify)


def add_install(add: Add, bundle: Path) -> None:
    """Add `install`, by which `bundle` makes the environment that it runs in."""
    install = add(
        "install",
        "make an environment with the packages that are needed: those in the bundle, else from the package "
        "index of pip; pip checks all hashes",
        partial(_install, bundle),
    )
    install.add_argument("folder", type=Path, help="a new folder for it")
    add_public_key(install)


def _bundle(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.bundle.make import make_bundle

    print(make_bundle(args.model, paths, args.out, args.key, args.runtime, args.wheels, force=args.force))


def _verify(args: argparse.Namespace, paths: Paths) -> None:
    sealed = Sealed(args.bundle, args.public_key)
    if args.public_key:
        signature = f"it is signed with the private key of {args.public_key}"
    elif sealed.signed:
        signature = "its signature was not looked at: name the --public-key"
    else:
        signature = "it is not signed"
    print(f"{args.bundle} is {sealed.name}; its {len(sealed.hashes)} files are whole; {signature}.")


def _install(bundle: Path, args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.serving.install import install

    try:
        sealed = Sealed(bundle, args.public_key)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{bundle}: its signature cannot be checked, because this Python lacks the package {error.name}: "
            "install that, or check the bundle with `verify` elsewhere and call install with "
            "SLIMSTREAM_PUBLIC_KEY unset."
        ) from error
    print(install(sealed, args.folder))
