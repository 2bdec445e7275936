"""The servers of one box, without docker: PostgreSQL where it is installed, Prefect, MLflow and a worker.

`make up`, `make down` and `make status` call `python -m flows.services`. All of it listens on loopback alone,
and all that it knows lies in `.services/` of the project.
"""
