"""What happens to the champion, as events of Prefect: `make up` makes alerts of them."""

from prefect.events import emit_event

EVENTS = ("promoted", "refused", "rolled-back")


def announce(event: str, sentence: str) -> None:
    """Emit `slimstream.<what>`, one of EVENTS, with the sentence as `text` of its payload."""
    emit_event(
        f"slimstream.{event}", {"prefect.resource.id": "slimstream.champion"}, payload={"text": sentence}
    )
