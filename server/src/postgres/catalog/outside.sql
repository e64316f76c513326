-- What is outside of some schemas, one row for each catalog row: its kind, its name, a hash, and whether this transaction
-- wrote it. $1: the schemas. What belongs to PostgreSQL itself, and what is temporary, is left out.
WITH own AS (
    SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.numeric AS top
), space AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
     WHERE n.nspname <> ALL ($1) AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
       AND n.nspname !~ '^pg_(toast_)?temp_'
), relation AS (
    SELECT c.xmin, pg_catalog.format('%I.%I', s.nspname, c.relname) AS name, c.*
      FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace WHERE c.oid >= 16384
), found AS (
    SELECT 'relation' AS kind, r.name, pg_catalog.md5(ROW(r.relname, r.relnamespace, r.relowner, r.relkind, r.relfilenode, r.reltablespace,
             r.relacl, r.reloptions, r.relrowsecurity, r.relforcerowsecurity, r.relreplident, r.relpersistence, r.relispartition,
             r.relchecks, r.reltype)::pg_catalog.text) AS hash, r.xmin FROM relation r
    UNION ALL
    SELECT 'column', pg_catalog.format('%s.%I', r.name, a.attname),
           pg_catalog.md5(ROW(a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated,
             a.attisdropped, a.attcollation, a.attacl, a.attoptions, a.attstorage)::pg_catalog.text), a.xmin
      FROM pg_catalog.pg_attribute a JOIN relation r ON r.oid = a.attrelid WHERE a.attnum > 0
    UNION ALL
    SELECT 'default', pg_catalog.format('%s, column %s', r.name, d.adnum), pg_catalog.md5(d::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_attrdef d JOIN relation r ON r.oid = d.adrelid
    UNION ALL
    SELECT 'constraint', pg_catalog.format('%I on %s', c.conname, r.name), pg_catalog.md5(c::pg_catalog.text), c.xmin
      FROM pg_catalog.pg_constraint c JOIN relation r ON r.oid = c.conrelid
    UNION ALL
    SELECT 'trigger', pg_catalog.format('%I on %s', t.tgname, r.name), pg_catalog.md5(t::pg_catalog.text), t.xmin
      FROM pg_catalog.pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'rule', pg_catalog.format('%I on %s', w.rulename, r.name), pg_catalog.md5(w::pg_catalog.text), w.xmin
      FROM pg_catalog.pg_rewrite w JOIN relation r ON r.oid = w.ev_class
    UNION ALL
    SELECT 'policy', pg_catalog.format('%I on %s', p.polname, r.name), pg_catalog.md5(p::pg_catalog.text), p.xmin
      FROM pg_catalog.pg_policy p JOIN relation r ON r.oid = p.polrelid
    UNION ALL
    SELECT 'index', r.name, pg_catalog.md5(ROW(i.indrelid, i.indisunique, i.indisprimary, i.indisclustered, i.indisreplident)::pg_catalog.text),
           i.xmin
      FROM pg_catalog.pg_index i JOIN relation r ON r.oid = i.indexrelid
    UNION ALL
    SELECT 'table with children', pg_catalog.format('%s: %s', r.name, i.inhrelid::pg_catalog.regclass), pg_catalog.md5(i::pg_catalog.text), i.xmin
      FROM pg_catalog.pg_inherits i JOIN relation r ON r.oid = i.inhparent
    UNION ALL
    SELECT 'statistics', pg_catalog.format('%I.%I', s.nspname, x.stxname), pg_catalog.md5(x::pg_catalog.text), x.xmin
      FROM pg_catalog.pg_statistic_ext x JOIN space s ON s.oid = x.stxnamespace
    UNION ALL
    SELECT 'routine', pg_catalog.format('%I.%I(%s)', s.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
           pg_catalog.md5(p::pg_catalog.text), p.xmin
      FROM pg_catalog.pg_proc p JOIN space s ON s.oid = p.pronamespace WHERE p.oid >= 16384
    UNION ALL
    SELECT 'type', pg_catalog.format('%I.%I', s.nspname, t.typname), pg_catalog.md5(t::pg_catalog.text), t.xmin
      FROM pg_catalog.pg_type t JOIN space s ON s.oid = t.typnamespace WHERE t.oid >= 16384
    UNION ALL
    SELECT 'enum value', pg_catalog.format('%s of %I.%I', e.enumlabel, s.nspname, t.typname), pg_catalog.md5(e::pg_catalog.text), e.xmin
      FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid JOIN space s ON s.oid = t.typnamespace
    UNION ALL
    SELECT 'operator', pg_catalog.format('%I.%s', s.nspname, o.oprname), pg_catalog.md5(o::pg_catalog.text), o.xmin
      FROM pg_catalog.pg_operator o JOIN space s ON s.oid = o.oprnamespace WHERE o.oid >= 16384
    UNION ALL
    SELECT 'operator class', pg_catalog.format('%I.%I', s.nspname, o.opcname), pg_catalog.md5(o::pg_catalog.text), o.xmin
      FROM pg_catalog.pg_opclass o JOIN space s ON s.oid = o.opcnamespace WHERE o.oid >= 16384
    UNION ALL
    SELECT 'operator family', pg_catalog.format('%I.%I', s.nspname, o.opfname), pg_catalog.md5(o::pg_catalog.text), o.xmin
      FROM pg_catalog.pg_opfamily o JOIN space s ON s.oid = o.opfnamespace WHERE o.oid >= 16384
    UNION ALL
    SELECT 'collation', pg_catalog.format('%I.%I', s.nspname, c.collname), pg_catalog.md5(c::pg_catalog.text), c.xmin
      FROM pg_catalog.pg_collation c JOIN space s ON s.oid = c.collnamespace WHERE c.oid >= 16384
    UNION ALL
    SELECT 'conversion', pg_catalog.format('%I.%I', s.nspname, c.conname), pg_catalog.md5(c::pg_catalog.text), c.xmin
      FROM pg_catalog.pg_conversion c JOIN space s ON s.oid = c.connamespace WHERE c.oid >= 16384
    UNION ALL
    SELECT 'text search configuration', pg_catalog.format('%I.%I', s.nspname, c.cfgname), pg_catalog.md5(c::pg_catalog.text), c.xmin
      FROM pg_catalog.pg_ts_config c JOIN space s ON s.oid = c.cfgnamespace WHERE c.oid >= 16384
    UNION ALL
    SELECT 'text search dictionary', pg_catalog.format('%I.%I', s.nspname, d.dictname), pg_catalog.md5(d::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_ts_dict d JOIN space s ON s.oid = d.dictnamespace WHERE d.oid >= 16384
    UNION ALL
    SELECT 'schema', pg_catalog.quote_ident(n.nspname), pg_catalog.md5(n::pg_catalog.text), n.xmin
      FROM pg_catalog.pg_namespace n JOIN space s ON s.oid = n.oid
    UNION ALL
    SELECT 'extension', pg_catalog.quote_ident(e.extname), pg_catalog.md5(e::pg_catalog.text), e.xmin FROM pg_catalog.pg_extension e
    UNION ALL
    SELECT 'default privileges', pg_catalog.format('of %s for %s', d.defaclrole::pg_catalog.regrole, d.defaclobjtype),
           pg_catalog.md5(d::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_default_acl d WHERE d.defaclnamespace = 0 OR d.defaclnamespace IN (SELECT oid FROM space)
    UNION ALL
    SELECT 'publication', pg_catalog.quote_ident(p.pubname), pg_catalog.md5(p::pg_catalog.text), p.xmin FROM pg_catalog.pg_publication p
    UNION ALL
    SELECT 'table in a publication', pg_catalog.format('%s: %s', p.prpubid, r.name), pg_catalog.md5(p::pg_catalog.text), p.xmin
      FROM pg_catalog.pg_publication_rel p JOIN relation r ON r.oid = p.prrelid
    UNION ALL
    SELECT 'event trigger', pg_catalog.quote_ident(e.evtname), pg_catalog.md5(e::pg_catalog.text), e.xmin FROM pg_catalog.pg_event_trigger e
    UNION ALL
    SELECT 'foreign server', pg_catalog.quote_ident(f.srvname), pg_catalog.md5(f::pg_catalog.text), f.xmin FROM pg_catalog.pg_foreign_server f
    UNION ALL
    SELECT 'foreign-data wrapper', pg_catalog.quote_ident(f.fdwname), pg_catalog.md5(f::pg_catalog.text), f.xmin
      FROM pg_catalog.pg_foreign_data_wrapper f
    UNION ALL
    SELECT 'language', pg_catalog.quote_ident(l.lanname), pg_catalog.md5(l::pg_catalog.text), l.xmin FROM pg_catalog.pg_language l
    UNION ALL
    SELECT 'cast', pg_catalog.format('%s as %s', c.castsource::pg_catalog.regtype, c.casttarget::pg_catalog.regtype),
           pg_catalog.md5(c::pg_catalog.text), c.xmin
      FROM pg_catalog.pg_cast c WHERE c.oid >= 16384
    UNION ALL
    SELECT 'large object', l.oid::pg_catalog.text, pg_catalog.md5(l::pg_catalog.text), l.xmin FROM pg_catalog.pg_largeobject_metadata l
    UNION ALL
    SELECT 'comment', pg_catalog.format('on %s%s', r.name, CASE WHEN d.objsubid > 0 THEN ', column ' || d.objsubid ELSE '' END),
           pg_catalog.md5(d::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_description d JOIN relation r ON r.oid = d.objoid WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
    UNION ALL
    SELECT 'comment', pg_catalog.format('on schema %I', s.nspname), pg_catalog.md5(d::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_description d JOIN space s ON s.oid = d.objoid WHERE d.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
    UNION ALL
    SELECT 'comment', pg_catalog.format('on routine %I.%I', s.nspname, p.proname), pg_catalog.md5(d::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_description d JOIN pg_catalog.pg_proc p ON p.oid = d.objoid JOIN space s ON s.oid = p.pronamespace
     WHERE d.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid >= 16384
    UNION ALL
    SELECT 'comment', pg_catalog.format('on type %I.%I', s.nspname, t.typname), pg_catalog.md5(d::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_description d JOIN pg_catalog.pg_type t ON t.oid = d.objoid JOIN space s ON s.oid = t.typnamespace
     WHERE d.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid >= 16384
    UNION ALL
    SELECT 'database', pg_catalog.quote_ident(d.datname),
           pg_catalog.md5(ROW(d.datname, d.datdba, d.datacl, d.datallowconn, d.datconnlimit, d.datistemplate)::pg_catalog.text), d.xmin
      FROM pg_catalog.pg_database d
    UNION ALL
    SELECT 'settings', pg_catalog.format('of role %s in database %s', s.setrole, s.setdatabase), pg_catalog.md5(s::pg_catalog.text), s.xmin
      FROM pg_catalog.pg_db_role_setting s
    UNION ALL
    SELECT 'membership', pg_catalog.format('of %s in %s', a.member::pg_catalog.regrole, a.roleid::pg_catalog.regrole),
           pg_catalog.md5(a::pg_catalog.text), a.xmin
      FROM pg_catalog.pg_auth_members a
)
SELECT f.kind, f.name, f.hash,
       CASE WHEN f.xmin::pg_catalog.text::pg_catalog.numeric < 3 OR b.ahead > 2147483647 THEN false
            ELSE coalesce(pg_catalog.pg_xact_status((own.top + b.ahead)::pg_catalog.text::pg_catalog.xid8) = 'in progress', false) END AS mine
  FROM found f CROSS JOIN own
 CROSS JOIN LATERAL (
    SELECT pg_catalog.mod(f.xmin::pg_catalog.text::pg_catalog.numeric - pg_catalog.mod(own.top, 4294967296) + 4294967296, 4294967296) AS ahead) b
UNION ALL
-- Rows are written under a lock that is kept; whatever changes the cluster's own catalogs keeps one as well.
SELECT 'rows of', coalesce(r.name, l.relation::pg_catalog.regclass::pg_catalog.text), 'written', true
  FROM pg_catalog.pg_locks l LEFT JOIN relation r ON r.oid = l.relation
 WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock'
   AND (r.oid IS NOT NULL OR l.database = 0 AND l.relation IN (1213, 1260, 1261, 1262, 2964, 6100, 6243))
