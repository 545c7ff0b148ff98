"""Commands about images and their files."""
