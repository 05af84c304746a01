"""Evaluation of one checkpoint by several processes."""
