"""Kafka: clients and their security, events in and out of records, services of batches."""
