"""The system's PostgreSQL with a cluster in the project; without PostgreSQL the servers use SQLite."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

from infra.services.process import as_user
from infra.services.settings import HOST, Home, Settings
from slimstream.core.errors import UserError

ROLE = "slimstream"
DATABASES = ("prefect", "mlflow", "mlflow_auth")
SYSTEM = Path("/usr/lib/postgresql")
"""Debian's folder, with a subfolder for each major version."""


def missing(home: Home) -> str:
    """Why PostgreSQL cannot be used here; "" when it can."""
    if binaries(home) is None:
        return "PostgreSQL is not installed"
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        if user() is None:
            return "PostgreSQL does not run as root, and there is no user postgres to run it as"
        home.folder.chmod(0o711)  # that user needs access to its folder below
        may = subprocess.run(["test", "-x", home.folder], **as_user(user()))
        if may.returncode:
            home.folder.chmod(0o700)
            return f"the user postgres may not enter {home.folder}"
    return ""


def user() -> str | None:
    """The user that runs the server: None for the present user, "postgres" if that is root and it exists."""
    if os.geteuid() != 0:
        return None
    import pwd

    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else None


def binaries(home: Home) -> Path | None:
    """The folder of initdb and postgres, of the cluster's major version if there is one; None without."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(SYSTEM.glob("*/bin"), key=lambda folder: _major(folder.parent.name), reverse=True)
    folders = [found for found in folders if (found / "initdb").exists() and (found / "postgres").exists()]
    version = data(home) / "PG_VERSION"
    if version.exists():
        wanted = version.read_text().strip()
        folders = [folder for folder in folders if f" {wanted}." in _said(folder / "postgres", "--version")]
    return folders[0] if folders else None


def data(home: Home) -> Path:
    """Folder of the cluster."""
    return home.folder / "postgres"


def command(home: Home, settings: Settings) -> list[str]:
    """Command for a server in the foreground, with TCP on loopback only and no socket in the file system."""
    place = [str(_binary(home, "postgres")), "-D", str(data(home))]
    return [*place, "-h", HOST, "-p", str(settings.postgres_port), "-k", ""]


def url(settings: Settings, password: str, database: str, driver: str = "postgresql") -> str:
    """URL of `database` for SQLAlchemy or psycopg2. It contains the password."""
    return f"{driver}://{ROLE}:{quote(password, safe='')}@{HOST}:{settings.postgres_port}/{database}"


def prepare(home: Home, password: str) -> None:
    """Create the cluster if there is none, and set the password of secrets.env. Raises UserError on failure.

    This uses the server's single-user mode, which needs no password and opens no port.
    """
    if not data(home).exists():
        new = home.folder / "postgres.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if (owner := user()) is not None:
            shutil.chown(new, owner)
        how = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        _run(home, "initdb", "-D", new, "-U", ROLE, *how)
        # All connections need a password; without a socket, loopback is the only way to connect.
        (new / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        for name in DATABASES:
            _single(home, new, f"CREATE DATABASE {name}")
        new.rename(data(home))
    quoted = password.replace("'", "''")
    _single(home, data(home), f"ALTER ROLE {ROLE} PASSWORD '{quoted}'")


def healthy(settings: Settings, password: str) -> str:
    """Why the server does not accept our connection; "" when it does."""
    import psycopg2

    try:
        connection = psycopg2.connect(url(settings, password, "postgres"), connect_timeout=5)
        connection.close()
    except psycopg2.Error as error:
        return str(error).strip().splitlines()[-1].partition("FATAL:")[2].strip() or "does not answer"
    return ""


def _single(home: Home, cluster: Path, statement: str) -> None:
    _run(home, "postgres", "--single", "-D", cluster, "postgres", said=f"{statement}\n")


def _run(home: Home, name: str, *arguments: str | Path, said: str = "") -> None:
    answer = subprocess.run(
        [_binary(home, name), *arguments],
        input=said,
        cwd="/",
        capture_output=True,
        text=True,
        **as_user(user()),
    )
    complaints = [line for line in answer.stderr.splitlines() if "ERROR:" in line or "FATAL:" in line]
    if answer.returncode or complaints:
        why = (complaints or answer.stderr.strip().splitlines() or ["it did not say why"])[-1]
        raise UserError(f"PostgreSQL's {name} failed in {data(home)}: {why}")


def _binary(home: Home, name: str) -> Path:
    folder = binaries(home)
    if folder is None:
        raise UserError(
            f"The stored data are in PostgreSQL's folder {data(home)}, and no server of that version "
            "is installed; install it."
        )
    return folder / name


def _said(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


def _major(name: str) -> int:
    return int(name) if name.isdecimal() else 0
