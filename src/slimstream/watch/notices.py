"""Sentences in the terminal about what fails."""

import sys


class Notices:
    """Says of each thing once that it fails, until it has worked again."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    def failed(self, name: str, sentence: str) -> None:
        """Say `sentence` about the thing `name`, if it worked before."""
        if name not in self._failing:
            self._failing.add(name)
            print(f"watch: {sentence}", file=sys.stderr, flush=True)

    def worked(self, name: str) -> None:
        """Note that `name` works."""
        self._failing.discard(name)
