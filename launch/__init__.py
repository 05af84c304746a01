"""The commands: flags -> options -> one call."""
