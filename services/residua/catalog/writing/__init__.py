"""Writing one batch of events to the catalog, on both databases."""
