"""Make the noise of the difference white again, and say how large it is."""
