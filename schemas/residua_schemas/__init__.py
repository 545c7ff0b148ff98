"""The event contracts of Residua, importable with pydantic alone."""
