"""The dozen numbers of the model to publish by which DVC and MLflow compare runs."""

from collections.abc import Mapping

from slimstream.stages.evaluate.model_rows import cost_of

SCORES = {
    "macro_f1": "macro_f1",
    "macro_f1_low": "macro_f1_low",
    "macro_f1_high": "macro_f1_high",
    "video_macro_f1": "video_macro_f1",  # of whole files, where they have several clips
    "video_macro_f1_low": "video_macro_f1_low",
    "accuracy": "accuracy",
    "file_to_answer_ms": "file_to_answer_p50_ms",
    "megabytes": "megabytes",
    "parameters": "params",
    "macs": "macs",
}
"""Name of a headline → the score of the model that it shows, as in metrics/evaluate.json."""
HEADLINE = (*SCORES, "saving", "original_macro_f1", "judged_clips")
"""Names of all these metrics."""


def headline(scores: Mapping[str, float], model: str) -> dict[str, float]:
    """The numbers of `model`; `scores` is the content of metrics/evaluate.json.

    Those of SCORES; `saving`, the share of the original's time from file to answer that is saved, below 0
    where the model is slower and 0 where no difference is measurable; `original_macro_f1`; `judged_clips`.
    What was not measured is left out.
    """
    wanted = {name: f"{model}.{key}" for name, key in SCORES.items()}
    wanted |= {"original_macro_f1": "original.macro_f1", "judged_clips": "test.clips"}
    found = {name: scores[key] for name, key in wanted.items() if key in scores}
    time = cost_of(scores, model, "file_to_answer_p50_ms")
    if time.ratio is not None:
        found["saving"] = 0.0 if time.equal else 1 - time.ratio
    return found
