"""Registering events in a repository."""
