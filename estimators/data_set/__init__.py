"""The folder that a data set is: its files, its manifest, and how it appears whole."""
