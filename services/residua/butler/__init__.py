"""SERVICE: the Butler registrar."""
