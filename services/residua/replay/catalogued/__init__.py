"""What the catalog answers, so that no topic is read for it."""
