"""From predictions in columns to a submission: its forms, its checks, and batch predictions in JSON lines."""
