"""Writing difference images: archive, cards for those who read no JSON, preview, export."""
