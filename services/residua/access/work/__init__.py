"""From a request to its rows: the gate, what handlers share, queries and running jobs."""
