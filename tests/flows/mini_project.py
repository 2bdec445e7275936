"""A miniature of the project: a git and DVC repository whose stages take no time."""

import json
import subprocess
from pathlib import Path

COMMAND = """
import json, os, pathlib, sys, time
name = sys.argv[1]
# A line each: NAME wait, NAME edit (params.yaml), or NAME fail STATUS [the first so many times].
wishes = {line.split()[0]: line.split()[1:] for line in pathlib.Path("wish.txt").read_text().splitlines()}
wish = wishes.get(name, [])
home = pathlib.Path(os.environ.get("SLIMSTREAM_SOURCE_ROOT", "."))
if wish[:1] == ["fail"]:
    tries = pathlib.Path("tries-" + name)
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(wish) < 3 or len(tries.read_text()) <= int(wish[2]):
        sys.exit(print("params.yaml: 'alpha' is too large; choose less.", file=sys.stderr) or int(wish[1]))
if name == "scan" and "--dry-run" in sys.argv:
    found = (home / "new.txt").read_text().split()
    print(json.dumps({"source": "plant", "new": found, "changed": [], "inbox": []}))
elif name == "evaluate-champion":
    health = {"name": "m", "version": 1, "macro_f1": 0.4, "dropped": sys.argv[3] == "winter"}
    pathlib.Path("runs").mkdir(exist_ok=True)
    pathlib.Path("runs/evaluate-champion.json").write_text(json.dumps(health))
    print("judged", sys.argv[3])
elif name in ("promote", "rollback"):
    print(*sys.argv[1:])
elif name == "scan":
    pathlib.Path("source.lock.json").write_text(json.dumps({"at": os.environ.get("SLIMSTREAM_SOURCE_ROOT")}))
elif name == "publish":
    outcome = {"model": "distilled", "promoted": True, "changed": True, "run_url": ""}
    outcome["sentences"] = ["m version 1 (distilled) is champion: good.", "It takes 1 MB (as the original)."]
    outcome["flow"] = os.environ["SLIMSTREAM_FLOW_RUN_ID"]
    pathlib.Path("runs").mkdir(exist_ok=True)
    pathlib.Path("runs/publish.json").write_text(json.dumps(outcome))
else:
    print("working on", name, flush=True)
    if wish == ["wait"]:
        time.sleep(60)
    if wish == ["edit"]:
        pathlib.Path("params.yaml").write_text(pathlib.Path("params.yaml").read_text() + "# edited")
    pathlib.Path(name).write_text("out")
    pathlib.Path("metrics").mkdir(exist_ok=True)
    scores = {"distilled.macro_f1": 0.5, "distilled.params": 2e6}
    pathlib.Path("metrics/evaluate.json").write_text(json.dumps(scores))
"""

PIPELINE = """
stages:
  evaluate:
    cmd: python -m slimstream evaluate
    deps: [zeta, alpha]
    outs: [evaluate]
  alpha:
    cmd: python -m slimstream alpha
    deps: [zeta, wish.txt]
    outs: [alpha]
  zeta:
    cmd: python -m slimstream zeta
    deps: [source.lock.json]
    outs: [zeta]
"""


IGNORED = (
    *("/zeta", "/alpha", "/evaluate", "/runs/", "/metrics/", "/new.txt", "/tries-*", "/.slimstream/"),
    "__pycache__",
)


def repository(root: Path) -> Path:
    """Make it in `root`: evaluate ← alpha ← zeta, listed the wrong way round in dvc.yaml."""
    package = root / "src" / "slimstream"
    files = {
        package / "__init__.py": "",
        package / "__main__.py": COMMAND,
        root / "dvc.yaml": PIPELINE,
        root / "wish.txt": "nothing\n",
        root / "params.yaml": "recipe: rig  # the default\n",
        root / "recipes" / "rig.yaml": "recipe: rig  # the default\n",
        root / "recipes" / "tank.yaml": "ingest:\n  source: ../clips  # four cameras\n",
        root / ".dvc" / "config": "[core]\n    analytics = false\n",
        root / ".dvc" / ".gitignore": "/config.local\n/tmp\n/cache\n",
        root / ".gitignore": "\n".join(IGNORED),
        root / ".dvcignore": "__pycache__\n",
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "t")
    git(root, "config", "user.email", "t@localhost")
    commit(root)
    return root


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "change")


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


def outcome(root: Path) -> dict[str, object]:
    return dict(json.loads((root / "runs/publish.json").read_text()))
