"""How services and tools speak to Kafka."""
