"""A registered version as one signed file that runs without the rest of slimstream."""
