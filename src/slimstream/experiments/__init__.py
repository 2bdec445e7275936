"""Many trainings compared: folds, and the tables of the papers."""
