"""A decoder that crashes. The processes that use it import this module: it imports no more than it needs."""

import os
import signal

from slimstream.serving.classifier import ClipClassifier
from slimstream.serving.predict import _Batch


def predict_batch(batch: _Batch) -> list[dict[str, object]]:
    """`serving.predict._predict_batch`, which one of the files kills."""
    if any(file.name == "east-leak-2.mp4" for file in batch.files):
        os.kill(os.getpid(), signal.SIGKILL)
    return ClipClassifier(batch.model, batch.runtime).predict(batch.files)
