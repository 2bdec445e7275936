"""Addresses of the pages that tell more about a version: its MLflow run, its commit."""

import re
from urllib.parse import urlsplit

from slimstream.core.paths import Paths
from slimstream.tracking.repository import git


def run_page(uri: str, experiment: str, run_id: str) -> str:
    """The page of a run on the MLflow server `uri`, without its password; "" where there is no server."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def commit_page(paths: Paths, commit: str) -> str:
    """The page of `commit` at the host of the remote `origin`; "" where it was not pushed to a host."""
    origin = (git(paths, "remote", "get-url", "origin") or "").strip()
    found = re.fullmatch(
        r"(?:https?://|ssh://)?(?:[^@/]+@)?(?P<host>[\w.-]+\.\w+)(?::\d+/|[:/])(?P<path>[\w./-]+?)(?:\.git)?/?",
        origin,
    )
    if not found or not commit or not git(paths, "branch", "--remotes", "--contains", commit):
        return ""
    return f"https://{found['host']}/{found['path']}/commit/{commit}"
