"""A deployed network judges raw clips, here or behind MLflow."""
