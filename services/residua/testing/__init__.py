"""Helpers shipped for tests and the demo: simulated sky, embedded broker."""
