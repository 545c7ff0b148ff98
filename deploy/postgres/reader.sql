-- The role of the access service: it reads the catalog and nothing else. Run it in the catalog's
-- database after the tables are there (python -m residua.obscore.migrate URL):
--   psql -d CATALOG -f reader.sql
-- then give the role a password, and the service two addresses:
--   RESIDUA_CATALOG_URL=postgresql+psycopg://residua_reader:...@HOST/CATALOG
--   RESIDUA_JOBS_URL=... (a database it may write, for the table of TAP jobs)
DO $$ BEGIN
  CREATE ROLE residua_reader LOGIN;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
ALTER ROLE residua_reader SET default_transaction_read_only = on;
-- What one query may take, beside the service's own limits.
ALTER ROLE residua_reader SET statement_timeout = '11min';
ALTER ROLE residua_reader SET work_mem = '32MB';
ALTER ROLE residua_reader SET temp_file_limit = '4GB';
GRANT USAGE ON SCHEMA public TO residua_reader;
GRANT SELECT ON obscore, dia_source, visit_detector, image_storage, obsplan, arrival_outcome TO residua_reader;
