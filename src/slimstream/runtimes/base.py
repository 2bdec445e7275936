"""The interface of a runtime, and the measurements of a network in each. Importing it loads no torch."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.core.errors import UserError
from slimstream.core.parallel import cores

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

Network = Callable[["npt.NDArray[np.uint8]"], "npt.NDArray[np.float32]"]
"""A deployed network: clip (B, T, C, H, W) uint8 to outputs (B, n) float32, by default logits. Threads
may share it."""
LOGITS = ("logits",)
_MEASURED = "runtimes.json"


class Runtime(ABC):
    """One way to run a deployed network: the files it needs, how they are written and how they are opened.

    `slimstream.runtimes.RUNTIMES` lists all of them. The heavy package of a runtime is imported inside of its
    methods, because the list is read at every start of the command line.
    """

    title: str
    """For the report."""
    files: tuple[str, ...]
    """Names of the files of one network; the first is opened. Runtimes may share files."""
    packages: tuple[str, ...] = ()
    """Python packages that `open` needs; a registered version requires them."""
    exact: bool = True
    """Whether it computes in 32-bit floats. With fewer bits, probabilities change a little, and more so on
    another type of processor."""

    @abstractmethod
    def write(self, model: "nn.Module", clips: "Sequence[npt.NDArray[np.uint8]]", folder: Path) -> None:
        """Write `files` into `folder`, which holds the network as ONNX already (`runtimes.onnx.FILE`).

        Args:
            model: the network, which is not changed.
            clips: training clips (1, T, C, H, W) uint8, for runtimes that need the ranges of numbers.
            folder: the folder for `files`.

        After any exception this runtime is not used for this network, and the user sees its last line.
        """

    def adapt(self, other: Path, folder: Path) -> bool:
        """Write `files` into `folder` from those of the network in the folder `other`, if that is possible.

        It may be possible when the two networks differ in their heads only. Returns whether it was done; if
        not, `write` is called. Both folders contain their network as ONNX.
        """
        return False

    @abstractmethod
    def open(self, folder: Path, *, threads: int, at_once: int, outputs: Sequence[str] = LOGITS) -> Network:
        """The network whose `files` are in `folder`. Callers use `runtimes.open_network`.

        `outputs` are what it returns, see `runtimes.open_network`.
        Raises UserError (`unreadable`) when a file is missing or is not a network.
        """

    def missing(self) -> str:
        """The feature that this machine lacks for this runtime, and what is done instead; "" if nothing."""
        return ""

    def paths(self, folder: Path) -> list[Path]:
        """The `files` in `folder`."""
        return [folder / name for name in self.files]


def warm_up(networks: Sequence[Network], clip: "npt.NDArray[np.uint8]") -> None:
    """Call all `networks` once with `clip` (B, T, C, H, W), in parallel.

    Some runtimes compile a network at its first call for a shape, on one core. Exceptions are ignored:
    the next call raises them again.
    """
    with ThreadPoolExecutor(cores()) as pool:
        wait([pool.submit(network, clip) for network in networks])


def side_by_side(answers: "Sequence[npt.NDArray[np.float32]]") -> "npt.NDArray[np.float32]":
    """Outputs (B, n₁), (B, n₂), … of one call as a new array (B, n₁ + n₂ + …)."""
    import numpy as np

    return np.concatenate(answers, axis=1)


def unreadable(path: Path, title: str) -> UserError:
    """The error for a file that the runtime called `title` cannot open."""
    return UserError(f"{path} is not a network that {title} can run: export it again.")


@dataclass(frozen=True)
class Form:
    """Measurements of a network in the form for `runtime`."""

    runtime: str
    changed: float
    """Share of clips with another predicted class than in ONNX, for heads not trained on them: of train and
    val clips on inner folds where `lost` is a number, else of val clips."""
    off: float
    """Largest difference of a probability on val clips."""
    megabytes: float
    latency_p50_ms: float
    """For one clip on one thread."""
    latency_p95_ms: float
    lost: float | None = None
    """Mean macro-F1 on inner folds in ONNX, minus that of this form; None where they were not compared so."""


def write_forms(folder: Path, chosen: Form, forms: Sequence[Form]) -> None:
    """Write the measurements of the network in `folder`, and the form in which it is deployed."""
    content = {"chosen": chosen.runtime, "forms": [asdict(form) for form in forms]}
    (folder / _MEASURED).write_text(json.dumps(content, indent=2) + "\n")


def read_forms(folder: Path) -> tuple[Form, list[Form]]:
    """The chosen form, and all forms. Raises UserError when `folder` holds no deployed network."""
    try:
        content = json.loads((folder / _MEASURED).read_text())
        forms = {form["runtime"]: Form(**form) for form in content["forms"]}
        return forms[content["chosen"]], list(forms.values())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no deployed network: {_MEASURED} is missing or not ours.") from error


def softmax(logits: "npt.NDArray[np.floating[Any]]") -> "npt.NDArray[np.float64]":
    """Probabilities (B, classes) for logits (B, classes). Serving has no SciPy, so it is not used."""
    import numpy as np

    scaled = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
    return probabilities
