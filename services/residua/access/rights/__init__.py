"""Who may have what: tokens, and the day on which pixels become public."""
