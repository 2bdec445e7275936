"""How a command ends: with its status, or with one sentence where the user can mend something."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from slimstream.core.errors import UserError, system_error


def call(command: str, work: Callable[[], int | None], root: Path) -> int:
    """Do the `work` of a command; returns what it returns, 0 for None.

    An error is printed; then it returns the status of a UserError, 2 for an OSError, 130 for an interrupt.
    `root` is named where the system names no file.
    """
    # SIGTERM has the effect of an interrupt: a stage closes its run and leaves no half-written file.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(work() or 0)
    except UserError as error:
        print(f"slimstream {command}: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        # The system's message and the file are more helpful than a traceback.
        mend = "mend it and run again, what is finished is kept."
        print(f"slimstream {command}: {system_error(error, root)}; {mend}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"slimstream {command}: interrupted; run it again to go on.", file=sys.stderr)
        return 130
