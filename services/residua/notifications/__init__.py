"""SERVICE bucket notifications: events of an S3 store become visit arrivals."""
