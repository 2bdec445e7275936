"""`python -m flows.services` is `python -m infra.services`."""

import sys

from infra.services.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
