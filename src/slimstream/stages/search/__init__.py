"""Search for the smallest network that answers as well."""
