"""Session hooks that the training loop runs."""
