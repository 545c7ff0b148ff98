"""For tests of what speaks with Residua: a Kafka broker inside the process, and sample images.

Producers send to `embedded_broker` and read their arrivals back; dashboards and archives read
the files and events of `difference_images`. What only our own tests start is not in the wheel.
"""
