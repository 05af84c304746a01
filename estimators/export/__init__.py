"""Checkpoints -> SavedModels, and which of them predicts."""
