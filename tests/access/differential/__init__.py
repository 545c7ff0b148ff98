"""Random queries with types, and their answers in plain Python."""
