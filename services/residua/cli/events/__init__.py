"""Commands that send events, or look at what was sent."""
