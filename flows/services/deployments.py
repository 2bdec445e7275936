"""The deployments of prefect.yaml, known to the server."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.services.settings import Home
from slimstream.errors import UserError


def deploy(home: Home, env: Mapping[str, str]) -> None:
    """Deploy what prefect.yaml lists, unless nothing changed since.

    Deploying again would start a schedule that somebody paused in the UI.
    """
    if not (home.root / "prefect.yaml").exists():
        return
    seen, now = home.folder / "deployed", _digest(home.root)
    if seen.exists() and seen.read_text() == now:
        return
    answer = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=home.root,
        env=dict(env),
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        home.log("deploy").write_text(answer.stdout + answer.stderr)
        raise UserError(f"{home.root / 'prefect.yaml'} could not be deployed; {home.log('deploy')} says why.")
    seen.write_text(now)


def _digest(root: Path) -> str:
    """Of all that a deployment is made from: prefect.yaml and the flows, whose parameters it lists."""
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    for file in [root / "prefect.yaml", *sorted((root / "flows").glob("*.py"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
