"""Kinds of events about what a camera shows. Importing this loads nothing."""

KINDS = ("covered", "moved", "light", "drift")
"""From the plainest to the vaguest; of several that fit, the first is told."""
OVER = "as_before"
"""The end of one of them."""
SAYS = {
    "covered": "is covered, dark or out of focus",
    "moved": "has moved",
    "light": "has another light",
    "drift": "shows something else than before",
    OVER: "looks as before again",
}
"""Parts of the sentences of events."""
PREFECT = "slimstream.watch."
"""Prefect's events are called slimstream.watch.covered, and so on."""
