-- Everything that DROP SCHEMA ... CASCADE of the schemas $1 takes along, in one read-only query that locks nobody's tables.
-- $2: extensions (oids) that will have been moved out of the schemas by then, with their members.
--
-- It does what findDependentObjects in PostgreSQL's dependency.c does. Down: dependents of the object (of the column,
-- where it is one). Up: what an object is an internal part or a member of has to go with it (a rule takes its view, a
-- partition key's column its table, a member its extension).
--
-- home: the schema that an object lives in, '' for what never lives in one, NULL where only what it belongs to can tell.
-- belongs_to: TYPE/CLASS/OBJECT/COLUMN of each dependency that makes it a part of something else.
WITH RECURSIVE
staying(classid, objid) AS (
    SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid, e FROM pg_catalog.unnest($2::pg_catalog.oid[]) e
    UNION ALL
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
     WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = ANY($2::pg_catalog.oid[])
       AND d.deptype = 'e'
),
walk(classid, objid, objsubid) AS (
    SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid, n.oid, 0
      FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY($1::pg_catalog.text[])
    UNION
    SELECT s.classid, s.objid, s.objsubid FROM walk w CROSS JOIN LATERAL (
        SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
         WHERE d.refclassid = w.classid AND d.refobjid = w.objid
           AND (w.objsubid = 0 OR d.refobjsubid = w.objsubid)
           AND NOT (w.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                    AND (d.classid, d.objid) IN (SELECT k.classid, k.objid FROM staying k))
        UNION ALL
        SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
         WHERE d.classid = w.classid AND d.objid = w.objid AND (w.objsubid = 0 OR d.objsubid = w.objsubid)
           AND d.deptype IN ('i', 'e')
    ) s
),
whole AS (
    SELECT w.* FROM walk w LEFT JOIN walk t
        ON w.objsubid <> 0 AND t.objsubid = 0 AND t.classid = w.classid AND t.objid = w.objid
     WHERE t.objid IS NULL
),
named AS (
    SELECT w.classid, w.objid, w.objsubid, i.type AS kind, i.identity,
           CASE
             WHEN i.type IN ('extension', 'publication relation', 'publication namespace', 'event trigger') THEN ''
             WHEN i.type = 'schema' THEN (SELECT x.nspname FROM pg_catalog.pg_namespace x WHERE x.oid = w.objid)
             WHEN i.schema IS NOT NULL THEN s.nspname
             WHEN i.type IN ('trigger', 'rule', 'policy', 'table constraint', 'default value') THEN (
                SELECT a.object_names[1]
                  FROM pg_catalog.pg_identify_object_as_address(w.classid, w.objid, w.objsubid) a)
             WHEN i.type = 'domain constraint' THEN (
                SELECT n.nspname FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_type t ON t.oid = c.contypid
                  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE c.oid = w.objid)
             -- A cast that some other schema's type knows of is not the managed schemas' own.
             WHEN i.type = 'cast' THEN (
                SELECT CASE WHEN pg_catalog.bool_and(n.nspname = ANY($1::pg_catalog.text[] || '{pg_catalog}'::pg_catalog.text[]))
                            THEN pg_catalog.max(n.nspname::pg_catalog.text) FILTER (WHERE n.nspname = ANY($1::pg_catalog.text[]))
                            ELSE '' END
                  FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type t ON t.oid IN (c.castsource, c.casttarget)
                  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE c.oid = w.objid)
             WHEN i.type = 'transform' THEN (
                SELECT n.nspname FROM pg_catalog.pg_transform f JOIN pg_catalog.pg_type t ON t.oid = f.trftype
                  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE f.oid = w.objid)
           END::pg_catalog.text AS home,
           CASE w.classid
             WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN w.objid
             WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (
                SELECT c.conrelid FROM pg_catalog.pg_constraint c WHERE c.oid = w.objid)
             WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN (
                SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE t.oid = w.objid)
             WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN (
                SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE p.oid = w.objid)
             WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN (
                SELECT r.ev_class FROM pg_catalog.pg_rewrite r WHERE r.oid = w.objid)
             WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN (
                SELECT a.adrelid FROM pg_catalog.pg_attrdef a WHERE a.oid = w.objid)
             WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN (
                SELECT s.stxrelid FROM pg_catalog.pg_statistic_ext s WHERE s.oid = w.objid)
           END AS relation
      FROM whole w CROSS JOIN LATERAL pg_catalog.pg_identify_object(w.classid, w.objid, w.objsubid) i
      -- It spells a schema as SQL does, quoted where it must be; matrices and catalogs have the bare name.
      LEFT JOIN pg_catalog.pg_namespace s ON pg_catalog.quote_ident(s.nspname) = i.schema
     -- What somebody dropped since the walk's snapshot has no name any more, and goes with nothing.
     WHERE i.identity IS NOT NULL
)
SELECT n.classid::pg_catalog.int8 AS class, n.objid::pg_catalog.int8 AS object, n.objsubid AS column, n.kind, n.identity,
       n.home,
       pg_catalog.pg_get_userbyid(CASE
          WHEN n.relation IS NOT NULL THEN (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = n.relation)
          WHEN n.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (
             SELECT f.proowner FROM pg_catalog.pg_proc f WHERE f.oid = n.objid)
          WHEN n.classid = 'pg_catalog.pg_type'::pg_catalog.regclass THEN (
             SELECT t.typowner FROM pg_catalog.pg_type t WHERE t.oid = n.objid)
          WHEN n.classid = 'pg_catalog.pg_extension'::pg_catalog.regclass THEN (
             SELECT e.extowner FROM pg_catalog.pg_extension e WHERE e.oid = n.objid)
          WHEN n.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass THEN (
             SELECT o.oprowner FROM pg_catalog.pg_operator o WHERE o.oid = n.objid)
          WHEN n.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN (
             SELECT s.nspowner FROM pg_catalog.pg_namespace s WHERE s.oid = n.objid)
       END)::pg_catalog.text AS owner,
       CASE WHEN n.kind IN ('table', 'materialized view', 'table column') THEN (
          SELECT greatest(c.reltuples::pg_catalog.int8, pg_catalog.pg_stat_get_live_tuples(c.oid), 0)
            FROM pg_catalog.pg_class c WHERE c.oid = n.relation)
       END AS estimated_rows,
       (SELECT pg_catalog.string_agg(
                  pg_catalog.concat_ws('/', d.deptype, d.refclassid, d.refobjid, d.refobjsubid), ' ')
          FROM pg_catalog.pg_depend d
         WHERE d.classid = n.classid AND d.objid = n.objid AND d.objsubid = n.objsubid
           AND d.deptype IN ('a', 'i', 'P', 'S')) AS belongs_to
  FROM named n
