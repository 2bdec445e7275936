"""Finished cells with scores that a test chooses."""

from slimstream.experiments.tables.results import FinishedCell, Seeds

FACTS = {"params": 2e6, "macs": 3e8, "pretrained": False, "device": "CPU", "code": "abc", "version": "1f"}


def finished(
    fold: str, value: float, confusion: list[list[int]] | None = None, number: int = 0
) -> FinishedCell:
    """A cell in which every score is `value`; its clips are half of one class unless `confusion` is given."""
    scores = dict.fromkeys(("accuracy", "macro_precision", "macro_recall", "macro_f1"), value)
    facts = FACTS | scores | {"confusion": confusion or [[1, 0], [0, 1]], "classes": ["a", "b"]}
    return FinishedCell(fold, number, 1000 + number, f"{fold}-{number}", facts, 50.0, {})


def cells(*by_seed: list[float], confusion: list[list[int]] | None = None) -> Seeds:
    """Cells of folds a, b, … with these scores."""
    return [
        [finished(fold, value, confusion, seed) for fold, value in zip("abcd", values, strict=False)]
        for seed, values in enumerate(by_seed)
    ]


def replicates(*values: float, confusion: list[list[int]] | None = None) -> Seeds:
    """Cells of replicates 0, 1, … with these scores."""
    return [[finished(f"replicate{n}", value, confusion, n)] for n, value in enumerate(values)]
