"""Reading images: files of every supported kind become planes and observation metadata."""
