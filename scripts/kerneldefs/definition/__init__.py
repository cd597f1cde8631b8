"""Definitions: evidence, repairs, references, naming and checks."""
