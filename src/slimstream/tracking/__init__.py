"""MLflow's store, and the runs of stages in it."""
