-- The structure of the schemas $1 (oids), by kind of catalog row: how many, and two sums of hashes over them.
--
-- Everything is known by oid, nothing by the schemas' names: renaming a schema changes nothing here. Left out is what moves
-- by itself (statistics, files, counters).
WITH ns(oid) AS (SELECT pg_catalog.unnest($1::pg_catalog.oid[])),
rel AS (SELECT c.oid FROM pg_catalog.pg_class c JOIN ns ON ns.oid = c.relnamespace),
typ AS (SELECT t.oid FROM pg_catalog.pg_type t JOIN ns ON ns.oid = t.typnamespace),
prc AS (SELECT p.oid FROM pg_catalog.pg_proc p JOIN ns ON ns.oid = p.pronamespace),
line(kind, text) AS (
    SELECT 'relations', ROW(c.oid, c.relname, c.relnamespace, c.reltype, c.reloftype, c.relowner, c.relam, c.reltablespace,
           c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated, c.relreplident,
           c.relispartition, c.relacl, c.reloptions, c.relpartbound::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_class c JOIN rel ON rel.oid = c.oid
    UNION ALL
    SELECT 'columns', ROW(a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attstattarget, a.attnotnull,
           a.attidentity, a.attgenerated, a.attisdropped, a.attislocal, a.attinhcount, a.attcollation, a.attacl,
           a.attoptions, a.attfdwoptions, a.attstorage, a.attcompression)::pg_catalog.text
      FROM pg_catalog.pg_attribute a JOIN rel ON rel.oid = a.attrelid WHERE a.attnum > 0
    UNION ALL
    SELECT 'defaults', ROW(d.adrelid, d.adnum, d.adbin::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_attrdef d JOIN rel ON rel.oid = d.adrelid
    UNION ALL
    SELECT 'constraints', ROW(c.oid, c.conname, c.contype, c.condeferrable, c.condeferred, c.convalidated, c.conrelid,
           c.contypid, c.conindid, c.confrelid, c.confupdtype, c.confdeltype, c.confmatchtype, c.conkey, c.confkey,
           c.conbin::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_constraint c JOIN ns ON ns.oid = c.connamespace
    UNION ALL
    SELECT 'indexes', ROW(i.indexrelid, i.indrelid, i.indisunique, i.indisprimary, i.indisexclusion, i.indimmediate,
           i.indisclustered, i.indisvalid, i.indisreplident, i.indkey, i.indcollation, i.indclass, i.indoption,
           i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_index i JOIN rel ON rel.oid = i.indrelid
    UNION ALL
    SELECT 'triggers', ROW(t.oid, t.tgrelid, t.tgname, t.tgfoid, t.tgtype, t.tgenabled, t.tgconstraint, t.tgdeferrable,
           t.tginitdeferred, t.tgnargs, t.tgattr, t.tgargs, t.tgqual::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_trigger t JOIN rel ON rel.oid = t.tgrelid
    UNION ALL
    SELECT 'rules and views', ROW(r.oid, r.rulename, r.ev_class, r.ev_type, r.ev_enabled, r.is_instead,
           r.ev_qual::pg_catalog.text, r.ev_action::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_rewrite r JOIN rel ON rel.oid = r.ev_class
    UNION ALL
    SELECT 'policies', ROW(p.oid, p.polname, p.polrelid, p.polcmd, p.polpermissive, p.polroles,
           p.polqual::pg_catalog.text, p.polwithcheck::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_policy p JOIN rel ON rel.oid = p.polrelid
    UNION ALL
    SELECT 'inheritance', ROW(i.inhrelid, i.inhparent, i.inhseqno)::pg_catalog.text
      FROM pg_catalog.pg_inherits i JOIN rel ON rel.oid = i.inhrelid
    UNION ALL
    SELECT 'partitioned tables', ROW(p.partrelid, p.partstrat, p.partdefid, p.partattrs, p.partclass, p.partcollation,
           p.partexprs::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_partitioned_table p JOIN rel ON rel.oid = p.partrelid
    UNION ALL
    SELECT 'foreign tables', ROW(f.ftrelid, f.ftserver, f.ftoptions)::pg_catalog.text
      FROM pg_catalog.pg_foreign_table f JOIN rel ON rel.oid = f.ftrelid
    UNION ALL
    SELECT 'sequences', ROW(s.seqrelid, s.seqtypid, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache,
           s.seqcycle)::pg_catalog.text
      FROM pg_catalog.pg_sequence s JOIN rel ON rel.oid = s.seqrelid
    UNION ALL
    SELECT 'routines', ROW(p.oid, p.proname, p.proowner, p.prolang, p.prokind, p.prosecdef, p.proleakproof, p.proisstrict,
           p.proretset, p.provolatile, p.proparallel, p.procost, p.prorows, p.prorettype, p.proargtypes, p.proallargtypes,
           p.proargmodes, p.proargnames, p.proargdefaults::pg_catalog.text, p.prosrc, p.probin, p.proconfig, p.proacl,
           p.prosqlbody::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_proc p JOIN prc ON prc.oid = p.oid
    UNION ALL
    SELECT 'types', ROW(t.oid, t.typname, t.typowner, t.typtype, t.typcategory, t.typnotnull, t.typbasetype, t.typtypmod,
           t.typcollation, t.typdefault, t.typacl)::pg_catalog.text
      FROM pg_catalog.pg_type t JOIN typ ON typ.oid = t.oid
    UNION ALL
    SELECT 'enum values', ROW(e.oid, e.enumtypid, e.enumsortorder, e.enumlabel)::pg_catalog.text
      FROM pg_catalog.pg_enum e JOIN typ ON typ.oid = e.enumtypid
    UNION ALL
    SELECT 'statistics', ROW(s.oid, s.stxname, s.stxrelid, s.stxowner, s.stxkeys, s.stxkind,
           s.stxexprs::pg_catalog.text)::pg_catalog.text
      FROM pg_catalog.pg_statistic_ext s JOIN ns ON ns.oid = s.stxnamespace
    UNION ALL
    SELECT 'operators', ROW(o.oid, o.oprname, o.oprowner, o.oprleft, o.oprright, o.oprresult,
           o.oprcode::pg_catalog.oid)::pg_catalog.text
      FROM pg_catalog.pg_operator o JOIN ns ON ns.oid = o.oprnamespace
    UNION ALL
    SELECT 'operator classes', ROW(o.oid, o.opcname, o.opcowner, o.opcmethod, o.opcfamily, o.opcintype)::pg_catalog.text
      FROM pg_catalog.pg_opclass o JOIN ns ON ns.oid = o.opcnamespace
    UNION ALL
    SELECT 'operator families', ROW(o.oid, o.opfname, o.opfowner, o.opfmethod)::pg_catalog.text
      FROM pg_catalog.pg_opfamily o JOIN ns ON ns.oid = o.opfnamespace
    UNION ALL
    SELECT 'collations', ROW(c.oid, c.collname, c.collowner, c.collprovider)::pg_catalog.text
      FROM pg_catalog.pg_collation c JOIN ns ON ns.oid = c.collnamespace
    UNION ALL
    SELECT 'conversions', ROW(c.oid, c.conname, c.conowner, c.conproc::pg_catalog.oid)::pg_catalog.text
      FROM pg_catalog.pg_conversion c JOIN ns ON ns.oid = c.connamespace
    UNION ALL
    SELECT 'text search', ROW(t.oid, t.cfgname, t.cfgowner, t.cfgparser)::pg_catalog.text
      FROM pg_catalog.pg_ts_config t JOIN ns ON ns.oid = t.cfgnamespace
    UNION ALL
    SELECT 'text search', ROW(t.oid, t.dictname, t.dictowner, t.dicttemplate, t.dictinitoption)::pg_catalog.text
      FROM pg_catalog.pg_ts_dict t JOIN ns ON ns.oid = t.dictnamespace
    UNION ALL
    SELECT 'default privileges', ROW(d.oid, d.defaclrole, d.defaclnamespace, d.defaclobjtype, d.defaclacl)::pg_catalog.text
      FROM pg_catalog.pg_default_acl d JOIN ns ON ns.oid = d.defaclnamespace
    UNION ALL
    SELECT 'comments', ROW(d.classoid, d.objoid, d.objsubid, d.description)::pg_catalog.text
      FROM pg_catalog.pg_description d
     WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid IN (SELECT rel.oid FROM rel)
        OR d.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objoid IN (SELECT typ.oid FROM typ)
        OR d.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objoid IN (SELECT prc.oid FROM prc)
    UNION ALL
    SELECT 'labels', ROW(l.classoid, l.objoid, l.objsubid, l.provider, l.label)::pg_catalog.text
      FROM pg_catalog.pg_seclabel l
     WHERE l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND l.objoid IN (SELECT rel.oid FROM rel)
        OR l.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND l.objoid IN (SELECT typ.oid FROM typ)
        OR l.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND l.objoid IN (SELECT prc.oid FROM prc)
)
SELECT kind, pg_catalog.count(*) || ' '
       || pg_catalog.sum(pg_catalog.hashtextextended(line.text, 0)::pg_catalog.numeric) || ' '
       || pg_catalog.sum(pg_catalog.hashtextextended(line.text, 1)::pg_catalog.numeric)
  FROM line GROUP BY kind ORDER BY kind
