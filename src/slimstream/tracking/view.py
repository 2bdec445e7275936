"""What MLflow's UI shows of the experiment: its description, and a table of pipelines to compare them in.

MLflow's table of runs opens without any metric. A shared view, which MLflow keeps as a tag of the experiment,
opens it with chosen columns.
"""

import json

from slimstream.stages.evaluate.headline import HEADLINE

KEY = "pipelines"
"""Name of the view."""
QUERY = f"viewStateShareKey={KEY}&workflowType=machine_learning"
"""Opens the view with MLflow's menu for training; its other menu, for language models, is the default."""
DESCRIPTION = """\
**[Open the table of pipelines with their metrics](#/experiments/{number}/runs?{query})**

Each row is a pipeline: one run from clips to a version, named after its recipe, the settings that differ from
it, and its date. Open it (+) to see its stages. It holds all settings and the metrics to compare by; all
other metrics and the curves are on the stages. Tick some rows and press *Compare*.
`tags.champion = "yes"` finds the pipeline whose version is in use.
"""
"""MLflow shows its first line only, until it is opened."""
FIRST = ("macro_f1", "original_macro_f1", "file_to_answer_ms", "saving", "megabytes", "judged_clips")
"""Metrics that fit on a screen; the others of HEADLINE follow."""
NAME = "attributes.`Run Name`"
"""The first column in any view; it has to show which settings differ."""
COLUMNS = {
    "attributes.`Models`": 100,
    **{f"metrics.`{name}`": 120 for name in dict.fromkeys((*FIRST, *HEADLINE))},
    "tags.`gate`": 80,
    "tags.`champion`": 80,
}
"""Columns in their order, and their widths in pixels."""


def tags(experiment_id: str) -> dict[str, str]:
    """The tags of the experiment."""
    state = {
        "selectedColumns": list(COLUMNS),
        "columnOrder": [NAME, *COLUMNS],
        "columnWidths": {NAME: 340, **COLUMNS},
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
    }
    return {
        "mlflow.note.content": DESCRIPTION.format(number=experiment_id, query=QUERY),
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{KEY}": json.dumps(state),
    }
