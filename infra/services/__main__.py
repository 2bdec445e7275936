"""`python -m infra.services up`: the command line for the servers. See docs/operations.md."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from infra.services import control
from infra.services.servers import base_environment, client_environment
from infra.services.settings import Home, load, load_secrets
from slimstream.core.errors import UserError, system_error
from slimstream.core.paths import Paths
from slimstream.tracking.address import own_database

ROOT = Path(__file__).resolve().parents[2]


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Run one command for the servers of `root`. Returns 0, 1 after a bad `status`, 2 for a UserError."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(Home(root), args) or 0)
    except UserError as error:
        print(f"services {args.command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"services {args.command}: {system_error(error, root)}; mend it and try again.", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print(f"services {args.command}: interrupted; `make status` says what runs.", file=sys.stderr)
        return 130


def _up(home: Home, args: argparse.Namespace) -> None:
    control.up(home, _tell)
    _status(home, args)


def _down(home: Home, args: argparse.Namespace) -> None:
    control.down(home, _tell)


def _keep(home: Home, args: argparse.Namespace) -> None:
    control.keep(home, _tell)


def _status(home: Home, args: argparse.Namespace) -> int:
    rows, well = control.status(home)
    if home.settings.exists():
        rows += [
            ("database", load(home).database, "PostgreSQL" if load(home).database == "postgres" else ""),
            ("secrets", "user admin", str(home.secrets)),
            ("logs", "", str(home.logs)),
        ]
        if (own := own_database(Paths(home.root))).exists():
            rows.append((own.name, "not used now", "SLIMSTREAM_TRACKING=local uses it"))
    for name, state, where in rows:
        print(f"{name:10}{state:22}  {where}".rstrip())
    return 0 if well else 1


def _exec(home: Home, args: argparse.Namespace) -> None:
    program = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not program:
        raise UserError("Say which program, with its arguments.")
    if not home.settings.exists():
        raise UserError("The servers were never started; `make up` first.")
    env = base_environment(home) | client_environment(home, load(home), load_secrets(home))
    try:
        os.execvpe(program[0], program, env)
    except OSError as error:
        raise UserError(f"{program[0]} cannot be run: {error.strerror}.") from None


def _tell(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.services", description="The servers of this box.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    known: list[tuple[str, Callable[..., object], str]] = [
        ("up", _up, "start what does not run, wait until all is well"),
        ("down", _down, "end everything"),
        ("status", _status, "say how each server is and where; status 1 unless all are well"),
        ("keep", _keep, "like up, but stay and start again whatever dies (for systemd)"),
        ("exec", _exec, "run a program that finds both servers and may enter: exec prefect deployment ls"),
    ]
    for name, run, text in known:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(run=run)
        if name == "exec":
            command.add_argument("program", nargs=argparse.REMAINDER, help="a program and its arguments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
