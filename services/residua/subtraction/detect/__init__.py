"""What stands out of the difference, and how far the image can be trusted."""
