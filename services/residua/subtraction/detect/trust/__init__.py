"""How far a difference image can be trusted: measured, and judged."""
