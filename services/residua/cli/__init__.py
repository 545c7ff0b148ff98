"""The command line, `residua`."""
