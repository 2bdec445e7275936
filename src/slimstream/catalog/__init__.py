"""The list of clips in a data set: file names, labels, groups, and the manifest."""
