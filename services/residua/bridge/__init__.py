"""The bridge between an observatory's own messages and ours: Rubin's."""
