"""One file a stage of dvc.yaml; each has `run(params, paths, log) -> metrics` and reads like its description."""
