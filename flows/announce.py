"""Prefect events about the champion; `make up` creates alerts for them."""

from prefect.events import emit_event

RETRAINING = "retrain/weekly"
"""The deployment that retrains."""
EVENTS = ("promoted", "refused", "rolled-back")


def announce(event: str, sentence: str) -> None:
    """Emit `slimstream.<event>`, where `event` is one of EVENTS, with `sentence` as `text` of its payload."""
    emit_event(
        f"slimstream.{event}", {"prefect.resource.id": "slimstream.champion"}, payload={"text": sentence}
    )
