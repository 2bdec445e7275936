"""The network in use. A new champion of the registry takes over while streams run."""

import sys
import time
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING

from slimstream.core.paths import Paths
from slimstream.serving.predict import deployed_model, find_version
from slimstream.serving.sealed import Sealed
from slimstream.watch.model import Model, load_model

if TYPE_CHECKING:
    from slimstream.registry.versions import Registry

LOOK = 15.0
"""Seconds between two looks at the registry."""


class Champion:
    """The network that `wanted` means, as in `predict`; a registered model stands for its champion."""

    def __init__(
        self,
        wanted: str,
        paths: Paths,
        runtime: str | None,
        window: float | None,
        public_key: Path | None = None,
    ) -> None:
        """Load it; for `runtime` and `window` see `load_model`, for `public_key` `serving.sealed`.

        Raises UserError when there is none.
        """
        self._wanted, self._paths, self._runtime, self._window = wanted, paths, runtime, window
        self._public_key = public_key
        self.since = time.time()
        """When it began to answer, in seconds since 1970."""
        self.problem = ""
        """Why the registry, or its newest champion, is not used; "" when all is well."""
        self.model = self._load()

    @property
    def _follows(self) -> bool:
        """Whether `wanted` may mean another version tomorrow."""
        return "/" not in self._wanted and not Path(self._wanted).exists()

    def _load(self) -> Model:
        if Path(self._wanted).is_file():
            sealed = Sealed(Path(self._wanted), self._public_key)
            folder = sealed.model(self._paths.cache / "served")
            return load_model(folder, sealed.name, self._runtime, self._window, sealed.tags)
        if Path(self._wanted).exists():
            folder = deployed_model(self._wanted, self._paths)
            return load_model(folder, self._wanted, self._runtime, self._window)
        return self._fetch(*find_version(self._wanted, self._paths))

    def _fetch(self, registry: "Registry", version: int) -> Model:
        folder = registry.fetch(version, self._paths.cache / "served")
        name = f"{registry.name} {version}"
        return load_model(folder, name, self._runtime, self._window, registry.tags()[version])

    def follow(self, stop: Flag) -> None:
        """Look for a new champion until `stop`."""
        while self._follows and not stop.wait(LOOK):
            self.look()

    def look(self) -> None:
        """Take over a new champion. If it cannot be loaded, the old one goes on and `problem` says why."""
        version: int | None = None
        try:
            registry, version = find_version(self._wanted, self._paths)
            if f"{registry.name} {version}" == self.model.name:
                self.problem = ""
                return
            model = self._fetch(registry, version)
        except Exception as error:  # whatever is wrong with a new version, the old one goes on
            what = f"{self._wanted} {version} is champion and" if version else "The registry"
            self._say(f"{what} cannot be used: {str(error) or type(error).__name__}")
            return
        print(f"watch: {model.name} answers now instead of {self.model.name}.", file=sys.stderr, flush=True)
        self.model, self.since = model, time.time()
        self.problem = ""

    def _say(self, sentence: str) -> None:
        if sentence != self.problem:
            print(f"watch: {sentence} {self.model.name} goes on.", file=sys.stderr, flush=True)
        self.problem = sentence
