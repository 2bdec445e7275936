"""`python -m flows.services.deployments` is `python -m infra.services.deployments`."""

import sys

from infra.services.deployments import main

if __name__ == "__main__":
    sys.exit(main())
