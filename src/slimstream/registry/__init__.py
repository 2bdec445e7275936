"""The model registry: publish, gate, promote, check and delete versions."""
