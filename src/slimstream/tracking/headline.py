"""The few metrics by which pipelines and versions are compared in MLflow; all others are on the stages."""

from collections.abc import Mapping

SCORES = {
    "macro_f1": "macro_f1",
    "macro_f1_low": "macro_f1_low",
    "macro_f1_high": "macro_f1_high",
    "accuracy": "accuracy",
    "file_to_answer_ms": "file_to_answer_p50_ms",
    "network_ms": "latency_p50_ms",
    "megabytes": "megabytes",
    "parameters": "params",
    "macs": "macs",
}
"""Name in MLflow → score of a model in metrics/evaluate.json."""
SAVED = {"time_saved": "file_to_answer_p50_ms", "bytes_saved": "megabytes"}
"""Name in MLflow → score; the metric is the share of the original's that is saved."""
HEADLINE = (*SCORES, "original_macro_f1", "test_clips", *SAVED)
"""Names of all these metrics."""


def headline(scores: Mapping[str, float], model: str) -> dict[str, float]:
    """The metrics of the version made from `model`; `scores` is the content of metrics/evaluate.json.

    Those of SCORES; `original_macro_f1`; `test_clips`; `time_saved` and `bytes_saved`, the shares of the
    original's time from file to answer and of its bytes that the model saves, negative where it costs more.
    What was not measured is left out.
    """
    wanted = {name: f"{model}.{key}" for name, key in SCORES.items()}
    wanted |= {"original_macro_f1": "original.macro_f1", "test_clips": "test.clips"}
    found = {name: scores[key] for name, key in wanted.items() if key in scores}
    for name, key in SAVED.items():
        mine, whole = scores.get(f"{model}.{key}"), scores.get(f"original.{key}")
        if mine is not None and whole:
            found[name] = 1 - mine / whole
    return found
