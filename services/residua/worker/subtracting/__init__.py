"""The process in which a worker subtracts: its life, and what it does."""
