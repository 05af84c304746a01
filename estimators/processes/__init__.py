"""Processes: their parents, signals, temporary folders, and what they tell."""
