"""Reading and writing images; object storage."""
