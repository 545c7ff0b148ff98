CREATE EXTENSION IF NOT EXISTS pg_sphere;
-- Butler registries need it for time spans.
CREATE EXTENSION IF NOT EXISTS btree_gist;
