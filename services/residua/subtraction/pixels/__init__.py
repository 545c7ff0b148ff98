"""Single pixels: checks and cleaning of the input, bright peaks, masks and how far they reach."""
