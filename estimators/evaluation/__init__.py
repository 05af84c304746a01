"""Every checkpoint evaluated once."""
