"""Jobs, as UWS 1.1 has them: queries, and images that are made again."""
