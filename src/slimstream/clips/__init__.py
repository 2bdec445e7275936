"""Videos and pictures: decoded, sampled, packed."""
