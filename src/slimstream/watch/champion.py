"""The network in use. A new champion of the registry takes over while streams run."""

import json
import sys
import time
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

from slimstream.core.errors import Unavailable
from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.serving.predict import deployed_model, find_version
from slimstream.serving.sealed import Sealed
from slimstream.watch.model import Model, load_model

if TYPE_CHECKING:
    from slimstream.registry.versions import Registry

LOOK = 15.0
"""Seconds between two looks at the registry."""
LAST = "last-used.json"
"""The file that says which version answered last, beside the versions that were fetched."""


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

        When the registry does not answer, the version that answered last for `wanted` goes on. Raises
        UserError when there is none.
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
        try:
            return self._fetch(*find_version(self._wanted, self._paths))
        except Unavailable as error:
            if (model := self._last_used()) is None:
                raise
            problem = f"The registry cannot be used: {error}"
            print(
                f"watch: {problem} {model.name}, which answered last, goes on.", file=sys.stderr, flush=True
            )
            self.problem = problem if self._follows else ""
            return model

    def _fetch(self, registry: "Registry", version: int) -> Model:
        folder = registry.fetch(version, self._served)
        name, tags = f"{registry.name} {version}", registry.tags()[version]
        model = load_model(folder, name, self._runtime, self._window, tags)
        self._note({"wanted": self._wanted, "folder": folder.name, "name": name, "tags": dict(tags)})
        return model

    @property
    def _served(self) -> Path:
        return self._paths.cache / "served"

    def _note(self, used: dict[str, Any]) -> None:
        try:
            with atomic_write(self._served / LAST) as half:
                half.write_text(json.dumps(used))
        except OSError as error:
            print(f"watch: which version answers cannot be noted: {error}", file=sys.stderr, flush=True)

    def _last_used(self) -> Model | None:
        """The version that answered last, if it answered for what is `wanted` now and is still there."""
        try:
            used = json.loads((self._served / LAST).read_text())
            folder = self._served / Path(used["folder"]).name
            name, tags = str(used["name"]), {str(key): str(value) for key, value in used["tags"].items()}
            if used["wanted"] != self._wanted or not folder.is_dir():
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or not one of ours
            return None
        return load_model(folder, name, self._runtime, self._window, tags)

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
