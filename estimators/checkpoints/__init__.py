"""Checkpoints: which exist, whether they are whole, what begins from them."""
