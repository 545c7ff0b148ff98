"""From the bytes of a record to the event in it, whoever wrote them."""
