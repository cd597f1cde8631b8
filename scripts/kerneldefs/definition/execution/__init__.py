"""References run: screened, given small valid inputs, and executed apart from everything else.

screen, allowed     what a reference's text may contain, before any of it runs
evaluate            constraints and sizes, computed without eval
sizes, generators,  small valid inputs for a definition
inputs
confine             what the operating system keeps a reference from
child, judge        one reference in a process of its own, and what its outputs must be
server, runner,     many references: a process that has imported torch forks one per reference
cache
independent,        what the reference computes, against implementations that share none of it
attention, verify
"""
