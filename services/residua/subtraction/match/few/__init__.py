"""What a handful of stars knows of the kernel."""
