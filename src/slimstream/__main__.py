"""`python -m slimstream COMMAND`."""

import sys

from slimstream.cli.parser import main

if __name__ == "__main__":
    sys.exit(main())
