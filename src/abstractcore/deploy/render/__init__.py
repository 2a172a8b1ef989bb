"""A deployment written down for the tools that run it: pure functions, argument lists and documents."""
