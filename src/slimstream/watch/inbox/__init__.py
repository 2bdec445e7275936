"""The inbox: doubtful windows, kept to be labelled; labelled ones become clips of the source."""
