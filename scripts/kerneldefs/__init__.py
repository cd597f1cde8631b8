"""kerneldefs: validated kernel definitions from a serving cookbook entry.

The folders stand in the order the data flows, and none imports a later one:
serving (what to serve) -> capture (what was called) -> definition (what a call is)
-> dataset (what is staged, validated and published).
"""

__version__ = "0.1.0"
