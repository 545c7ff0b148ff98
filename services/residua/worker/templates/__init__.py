"""Templates held ready: those in force, where they lie on the sky, read before they are needed."""
