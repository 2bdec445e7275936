"""Classical diagnosis on sensor logs: the process-data methods that P1's introduction names."""
