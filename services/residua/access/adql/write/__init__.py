"""From a checked query to SQL."""
