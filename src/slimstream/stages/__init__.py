"""The stages of dvc.yaml: a module or a folder each, with a function `run(..., paths, log) -> metrics`."""
