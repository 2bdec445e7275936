"""Experiments of many trainings: folds, and the tables of the papers."""
