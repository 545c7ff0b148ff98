"""The kernel where stars are few or none: what a handful agrees on, and what two PSFs imply."""
