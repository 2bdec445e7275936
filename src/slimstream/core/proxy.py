"""Exclude this machine from HTTP proxies: a proxy cannot reach its loopback address."""

import os
from collections.abc import MutableMapping
from importlib.util import find_spec

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Without `[::1]`: the HTTP client of Prefect fails when NO_PROXY contains it."""


def bypass_for_loopback(environ: MutableMapping[str, str] | None = None) -> None:
    """Add LOOPBACK to NO_PROXY and no_proxy and keep the user's entries.

    `environ` is changed in place; None means this process's environment, which its children inherit. Without
    a proxy nothing changes, because NO_PROXY alone would hide a proxy of the desktop's settings. SOCKS
    proxies are removed where the package for them is not installed: nothing could use them, and Prefect's
    client would fail.
    """
    environ = os.environ if environ is None else environ
    proxies = [name for name in environ if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]
    for name in proxies:
        if environ[name].lower().startswith("socks") and find_spec("socksio") is None:
            del environ[name]
    if not any(environ.get(name) for name in proxies):
        return
    # Some programs read the upper-case name, some the lower-case one.
    said = {name: environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        value = said[name] if said[name] is not None else said[other]
        named = [host.strip() for host in (value or "").split(",") if host.strip()]
        if "*" not in named:
            environ[name] = ",".join(dict.fromkeys([*named, *LOOPBACK]))
