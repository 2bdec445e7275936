"""The servers of one machine, without docker: PostgreSQL where it is installed, Prefect, MLflow and a worker.

`make up`, `make down` and `make status` call `python -m infra.services`. All servers listen on loopback only,
and all their files are in the project's folder `.services/`.
"""

import flows as flows  # sets the environment that Prefect reads on import and that servers inherit
