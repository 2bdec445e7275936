"""Names of the simulated plants: values of `ingest.source` for which clips are rendered, not fetched."""

SIMULATED = {
    "rig": "a multiphase-flow rig",
    "bench": "hands at a laboratory bench",
    "pellets": "plastic pellets under a line camera",
}
"""Name of the source to what its clips show."""
