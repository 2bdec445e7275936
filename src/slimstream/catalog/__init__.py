"""What a set of clips is told by: its files, their names, labels and groups."""
