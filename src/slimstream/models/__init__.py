"""Networks: one file a family, composed from parts."""
