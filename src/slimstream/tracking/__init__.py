"""MLflow's store, and the run of a stage in it."""
