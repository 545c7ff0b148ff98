"""Commands that run services, and set up what they stand on."""
