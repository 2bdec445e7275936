"""The deployments of prefect.yaml, known to the server.

`python -m infra.services.deployments` does it once for a server that runs elsewhere (infra/compose.yaml),
together with the automations; PREFECT_API_URL and PREFECT_API_AUTH_STRING say which, and who asks.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.services import automations
from infra.services.settings import Home
from slimstream.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def deploy(home: Home, env: Mapping[str, str], seen: Path | None = None) -> None:
    """Deploy what prefect.yaml lists, unless nothing changed since what `seen` (in .services) remembers.

    Deploying again would start a schedule that somebody paused in the UI.
    """
    if not (home.root / "prefect.yaml").exists():
        return
    seen, now = seen or home.folder / "deployed", _digest(home.root)
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
        home.make()
        home.log("deploy").write_text(answer.stdout + answer.stderr)
        raise UserError(f"{home.root / 'prefect.yaml'} could not be deployed; {home.log('deploy')} says why.")
    seen.write_text(now)


def main() -> int:
    """Make automations and deployments; 0 when they stand, 2 with a sentence when they cannot."""
    try:
        automations.ensure_automations(os.environ, os.environ)
        deploy(Home(ROOT), os.environ, Path(os.environ["PREFECT_HOME"]) / "deployed")
    except UserError as error:
        print(f"deployments: {error}", file=sys.stderr)
        return 2
    print("The automations and what prefect.yaml lists are deployed.")
    return 0


def _digest(root: Path) -> str:
    """Of all that a deployment is made from: prefect.yaml and the flows, whose parameters it lists."""
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    for file in [root / "prefect.yaml", *sorted((root / "flows").glob("*.py"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
