"""Classical fault diagnosis on sensor logs."""
