"""kerneldefs: validated kernel definitions from a serving cookbook entry.

The folders stand in the order the data flows, and none imports a later one:
serving (what to serve) -> capture (what was called) -> definition (what a call is)
-> derive (what nothing was dumped for) -> dataset (what is staged and validated)
-> page and publish (what people look at and hand on).
"""

__version__ = "0.1.0"
