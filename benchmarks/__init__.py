"""What is measured, how, and against what a user would use instead."""
