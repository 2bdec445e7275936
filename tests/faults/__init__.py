"""`python -m tests.faults`: a plant of its own, whose parts are killed at random moments while it works.

No part of `make test`: it takes an hour or two. docs/faults.md holds what came of it.
"""
