"""Who makes a whole image again that is not stored: this service's processes, or the workers."""
