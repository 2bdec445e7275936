"""One file a stage of dvc.yaml; `run(params, paths, log) -> metrics` reads like its description."""
