"""The folder of a run: what it holds, who writes into it, in which state it is."""
