"""What MLflow is told of the rates that `rate: auto` has tried."""

from pathlib import Path

import pandas as pd

from slimstream.core.paths import Paths
from slimstream.pipeline.stages import STAGES
from slimstream.stages.prune.rates import COLUMNS, write_rates


def test_a_run_for_each_rate_and_none_where_the_rate_was_given(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write_rates(paths, [])
    assert STAGES["prune"].trials(paths) == []
    row = dict.fromkeys(COLUMNS, 0.5)
    write_rates(paths, [{**row, "rate": 0.0, "chosen": False}, {**row, "rate": 0.25, "chosen": True}])
    (whole, *_), (name, params, metrics) = STAGES["prune"].trials(paths)
    assert (whole, name, params) == ("rate 0", "rate 0.25", {"rate": 0.25})
    assert metrics["macro_f1"] == metrics["macs"] == 0.5 and metrics["chosen"] == 1
    assert set(metrics) <= set(pd.read_csv(paths.curves("rates")))
