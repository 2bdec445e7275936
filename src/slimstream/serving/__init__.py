"""Predict raw clips with an exported network, on this machine or in MLflow."""
