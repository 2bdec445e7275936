"""Creates the deployments of prefect.yaml in the Prefect server.

`python -m infra.services.deployments` does this once, together with the automations, for a server that was
started otherwise (infra/compose.yaml), given by PREFECT_API_URL and PREFECT_API_AUTH_STRING.
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
    """Deploy the flows of prefect.yaml, unless nothing has changed since the last time.

    `seen` is the file with the hash of the last time, by default in .services. Without need nothing is
    deployed, because that would start schedules that were paused in the UI. Raises UserError on failure.
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
    """Create automations and deployments; returns 0, or 2 with a message when that fails."""
    try:
        automations.ensure_automations(os.environ, os.environ)
        deploy(Home(ROOT), os.environ, Path(os.environ["PREFECT_HOME"]) / "deployed")
        automations.ensure_retraining(os.environ)
    except UserError as error:
        print(f"deployments: {error}", file=sys.stderr)
        return 2
    print("The automations and what prefect.yaml lists are deployed.")
    return 0


def _digest(root: Path) -> str:
    """Hash of all that deployments depend on: prefect.yaml, the flows with their parameters, the recipes."""
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    digest.update(" ".join(sorted(file.name for file in (root / "recipes").glob("*.yaml"))).encode())
    for file in [root / "prefect.yaml", *sorted((root / "flows").glob("*.py"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
