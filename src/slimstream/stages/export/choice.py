"""Which form of a network is deployed."""

from collections.abc import Sequence

import numpy as np

from slimstream.runtimes import find_runtime
from slimstream.runtimes.base import Form
from slimstream.stages.export.params import ExportParams

PARITY = 1e-4
"""Largest allowed difference of a probability between the network and a form with 32-bit floats."""
MAX_CHANGED = 0.1
"""Largest allowed difference of a probability for a form with less precise numbers.

There may be only a dozen validation clips. Where a probability changes by this much without a new predicted
class, other clips nearer to the decision boundary would get a new one."""
SIMILAR = 0.95
"""Forms of which the fastest takes at least this share of their time are about as fast."""


def choose_form(forms: Sequence[Form], p: ExportParams, margin: float) -> Form:
    """The fastest faithful form; of forms of similar speed the smallest, of equal ones the most precise."""
    faithful = [forms[0], *(form for form in forms[1:] if is_faithful(form, p, margin))]
    limit = min(form.latency_p50_ms for form in faithful) / SIMILAR
    return min((f for f in faithful if f.latency_p50_ms <= limit), key=lambda form: form.megabytes)


def is_faithful(form: Form, p: ExportParams, margin: float) -> bool:
    """Whether a form predicts as the network does.

    With 32-bit floats all probabilities must agree to PARITY. With less precise numbers a share `max_changed`
    of the clips may get another class. Besides, on inner folds the macro-F1 may be lower by `margin`; on
    validation clips no probability may change by more than MAX_CHANGED.
    """
    if find_runtime(form.runtime).exact:
        return form.off <= PARITY
    close = form.off <= MAX_CHANGED if form.lost is None else form.lost <= margin and np.isfinite(form.off)
    return form.changed <= p.max_changed and close
