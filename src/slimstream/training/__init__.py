"""Training: the loop, objectives, schedules, head fitting and distributed processes."""
