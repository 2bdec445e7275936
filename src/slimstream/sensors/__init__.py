"""Classical methods on the logs of a plant's sensors."""
