"""Staged definitions -> a clone of the dataset, and pull requests for a person to open."""
