"""What the access service keeps and reads in the database: ObsCore, TAP_SCHEMA, jobs."""
