"""Watches all roles of a run: one snapshot after the other, a decision on each, and the loop that obeys."""
