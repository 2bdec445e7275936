"""The servers of one box, without docker: PostgreSQL where it is installed, Prefect, MLflow and a worker.

`make up`, `make down` and `make status` call `python -m infra.services`. All of it listens on loopback alone,
and all that it knows lies in `.services/` of the project.
"""

import flows as flows  # it sets what Prefect reads when it is imported, and what the servers inherit
