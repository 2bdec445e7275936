"""The section `sweep` of params.yaml."""

from typing import Annotated

from pydantic import Field

from slimstream.core.schema import Section


class SweepParams(Section):
    """Pruning at several rates, each as `prune` does it: what it costs and saves. Nothing is chosen by it."""

    rates: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [],
        description="shares of channels removed (0.1 to 0.8); empty: no curve. Each is fine-tuned anew",
    )
    latency_runs: int = Field(20, ge=5, description="timed single-clip runs of each exported network")
