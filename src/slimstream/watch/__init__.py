"""The champion at work on live cameras: windows, answers, states, events and a page."""
