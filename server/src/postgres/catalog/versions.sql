-- What the relations named alembic_version in the schemas $1 are, before anything of them is touched: why one must not be
-- read, why one must not be written to, and as whom it can be read. All of it comes from the catalogs; nothing that hangs
-- on the relations is called.
--
-- Reading is COPY of the table itself, with row_security off: it plans nothing, casts nothing, and fails on anything but a
-- table, so that what changes between this look and the reading calls nobody's function either.
WITH own AS (
    SELECT r.oid, r.rolname, CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000
                                  THEN 'SET' ELSE 'MEMBER' END AS assume
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
),
relation AS (
    SELECT c.oid, c.relkind, c.relowner, c.relrowsecurity OR c.relforcerowsecurity AS row_security, n.nspname, n.nspowner,
           n.oid AS namespace
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'alembic_version' AND n.nspname = ANY($1::pg_catalog.text[])
),
-- pg_get_expr waits for whoever holds a table: it must be asked of these tables alone.
filled(oid, attname, attgenerated, adbin, adrelid) AS MATERIALIZED (
    SELECT c.oid, a.attname, a.attgenerated, f.adbin, f.adrelid
      FROM relation c JOIN pg_catalog.pg_attrdef f ON f.adrelid = c.oid
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = f.adnum
),
unreadable(oid, why) AS (
    SELECT c.oid, CASE c.relkind WHEN 'v' THEN 'it is a view' WHEN 'm' THEN 'it is a materialized view'
                                 WHEN 'f' THEN 'it is a foreign table' WHEN 'p' THEN 'it is a partitioned table'
                                 ELSE 'it is no table' END
      FROM relation c WHERE c.relkind <> 'r'
    UNION ALL
    SELECT c.oid, 'it has no column version_num' FROM relation c
     WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid
                          AND a.attname = 'version_num' AND NOT a.attisdropped)
    UNION ALL
    SELECT c.oid, 'version_num is of type ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
      FROM relation c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num'
     WHERE a.atttypid NOT IN ('pg_catalog.varchar'::pg_catalog.regtype, 'pg_catalog.text'::pg_catalog.regtype)
    UNION ALL
    SELECT c.oid, 'version_num is generated'
      FROM relation c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num'
     WHERE a.attgenerated <> ''
    UNION ALL
    SELECT c.oid, 'it has row security' FROM relation c WHERE c.row_security
    UNION ALL
    SELECT c.oid, 'it has the rule ' || r.rulename FROM relation c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
     WHERE c.relkind = 'r'
    UNION ALL
    SELECT c.oid, 'it inherits, or is inherited from' FROM relation c
     WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
        OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
),
unwritable(oid, why) AS (
    -- The schema's owner and its members, the daemon's role, the database's owner, superusers.
    SELECT c.oid, 'it belongs to ' || o.rolname || ', who is neither the schema''s owner nor a member of it'
      FROM relation c JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
      JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database(), own
     WHERE NOT o.rolsuper AND c.relowner NOT IN (own.oid, d.datdba)
       AND NOT pg_catalog.pg_has_role(c.relowner, c.nspowner, 'MEMBER')
    UNION ALL
    SELECT c.oid, 'it has the trigger ' || t.tgname FROM relation c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid
     WHERE NOT t.tgisinternal
    UNION ALL
    SELECT c.oid, 'it has the constraint ' || k.conname FROM relation c JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid
     WHERE k.contype NOT IN ('p', 'u', 'n', 't') OR k.condeferrable AND k.contype <> 't'
    UNION ALL
    SELECT c.oid, 'the constraint ' || k.conname || ' refers to it'
      FROM relation c JOIN pg_catalog.pg_constraint k ON k.confrelid = c.oid
    UNION ALL
    SELECT c.oid, 'the index ' || i.indexrelid::pg_catalog.regclass::pg_catalog.text || ' calls functions'
      FROM relation c JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
     WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
        OR EXISTS (SELECT FROM pg_catalog.pg_opclass k WHERE k.oid = ANY (i.indclass::pg_catalog.oid[])
                      AND k.opcnamespace <> 'pg_catalog'::pg_catalog.regnamespace)
    UNION ALL
    SELECT c.oid, 'it has the statistics ' || s.stxname
      FROM relation c JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = c.oid
    UNION ALL
    SELECT c.oid, 'its column ' || a.attname || ' is of type ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
      FROM relation c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
     WHERE a.attname <> 'version_num' AND t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace
    UNION ALL
    -- As printed on this search path, these are PostgreSQL's own.
    SELECT f.oid, 'its column ' || f.attname || CASE WHEN f.attgenerated = '' THEN ' has a default' ELSE ' is generated' END
      FROM filled f
     WHERE pg_catalog.pg_get_expr(f.adbin, f.adrelid) NOT IN (
              'now()', 'CURRENT_TIMESTAMP', 'clock_timestamp()', 'statement_timestamp()', 'transaction_timestamp()')
    UNION ALL
    SELECT c.oid, 'role ' || o.rolname || ', which owns the schema, may not update it'
      FROM relation c JOIN pg_catalog.pg_roles o ON o.oid = c.nspowner
     WHERE c.relkind = 'r' AND NOT (pg_catalog.has_schema_privilege(c.nspowner, c.namespace, 'USAGE')
               AND pg_catalog.has_table_privilege(c.nspowner, c.oid, 'UPDATE'))
),
not_read(oid, whys) AS (SELECT u.oid, pg_catalog.array_agg(u.why ORDER BY u.why) FROM unreadable u GROUP BY u.oid),
not_written(oid, whys) AS (SELECT u.oid, pg_catalog.array_agg(u.why ORDER BY u.why) FROM unwritable u GROUP BY u.oid)
SELECT c.nspname::pg_catalog.text AS schema, s.rolname::pg_catalog.text AS schema_owner,
       pg_catalog.pg_has_role(c.nspowner, own.assume) AS may_act,
       CASE WHEN pg_catalog.pg_has_role(c.relowner, own.assume)
             AND pg_catalog.has_schema_privilege(c.relowner, c.namespace, 'USAGE')
             AND pg_catalog.has_table_privilege(c.relowner, c.oid, 'SELECT')
            THEN o.rolname::pg_catalog.text END AS read_as,
       pg_catalog.has_schema_privilege(c.namespace, 'USAGE')
             AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
       coalesce(r.whys, '{}') AS unreadable, coalesce(w.whys, '{}') AS unwritable
  FROM relation c JOIN pg_catalog.pg_roles o ON o.oid = c.relowner JOIN pg_catalog.pg_roles s ON s.oid = c.nspowner
  LEFT JOIN not_read r ON r.oid = c.oid LEFT JOIN not_written w ON w.oid = c.oid
 CROSS JOIN own
 ORDER BY 1
