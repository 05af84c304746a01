"""Hypothesis without its time limit per example: on a busy machine that would be a timed test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
