"""SERVICE: the catalog consumer (aiokafka) and the ObsCore table."""
