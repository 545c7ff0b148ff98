"""Limits on what requests may cost: how many at once, how long, and where answers wait."""
