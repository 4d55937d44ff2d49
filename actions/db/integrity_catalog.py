"""Which checks a database needs: read from PostgreSQL's catalogs, one question for each table, index and constraint.

The questions don't trust what a catalog promises: a foreign key whose rows were changed behind its back is still said to be
valid, and VALIDATE CONSTRAINT does nothing to it. So each constraint becomes a query of its own over the rows.

Each SELECT in `CONSTRAINTS` lists questions as rows: name, object, the table and the other one it reads ("": none), sql, damage
(what it is if the query finds rows), unproven (NOT VALID: older rows may break it), skip (why it can't be asked), and also (a
GRANT that is needed besides).
"""

from __future__ import annotations

# Rows are read from tables, not from indexes; no policy hides any; the planner derives nothing from constraints.
SESSION = (
    "SET row_security = off; SET constraint_exclusion = off; SET enable_indexscan = off;"
    " SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET statement_timeout = {milliseconds};"
    # The server ends a query of ours if this process dies.
    " SELECT set_config(name, '10s', false) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'"
)
GENTLE = "; SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0"

RECOVERY = "SELECT pg_is_in_recovery() AS in_recovery"

# What our role may not read, with the statement that lets it; every table is one row.
TABLES = """
SELECT c.oid::regclass::text AS object, CASE
    WHEN NOT has_schema_privilege(c.relnamespace, 'USAGE')
      THEN format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user)
    WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN format('GRANT SELECT ON %s TO %I', c.oid::regclass, current_user)
    WHEN row_security_active(c.oid) THEN format('ALTER ROLE %I BYPASSRLS', current_user)
    ELSE '' END AS needed,
  c.relkind IN ('r', 'm') AND (c.relispopulated OR c.relkind <> 'm') AS stored,
  CASE WHEN c.relkind = 'f' THEN 'its rows are on another server'
    WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'it is a materialized view that was never filled' ELSE '' END AS skip
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'f', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
UNION ALL SELECT 'large objects', '', false, 'this check does not read large objects'
WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
ORDER BY 1
"""

# The whole row as text: every value is fetched from wherever it is stored, and unpacked. count(*) alone sees no damaged page.
READ = "SELECT count(*) AS rows, coalesce(sum(octet_length((dr_row.*)::text)), 0)::int8 AS bytes FROM ONLY {table} AS dr_row"

_KEY = "(SELECT c.oid, c.relkind, CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || c.oid::regclass AS name FROM pg_class c)"

FOREIGN_KEYS = f"""
SELECT 'foreign key' AS name, con.conrelid::regclass::text AS "table", '' AS also,
  format('%s (%s)', con.conrelid::regclass, con.conname) AS object, NOT con.convalidated AS unproven,
  CASE WHEN (to_jsonb(con) ->> 'conperiod')::bool THEN 'it is about periods of time, which this check does not know'
    WHEN NOT coalesce((to_jsonb(con) ->> 'conenforced')::bool, true) THEN 'it is NOT ENFORCED' ELSE '' END AS skip,
  format('{{found}} of %s with no match in %s', con.conrelid::regclass, con.confrelid::regclass) AS damage,
  con.confrelid::regclass::text AS other,
  format('SELECT count(*) AS found FROM %s AS child WHERE %s(num_nulls(%s) = 0'
    ' AND NOT EXISTS (SELECT FROM %s AS parent WHERE %s))', child.name,
    CASE con.confmatchtype WHEN 'f' THEN format('num_nulls(%s) BETWEEN 1 AND %s OR ', keys.columns, cardinality(con.conkey) - 1)
      ELSE '' END,
    keys.columns, parent.name, keys.equal) AS sql
FROM pg_constraint con
JOIN {_KEY} child ON child.oid = con.conrelid JOIN {_KEY} parent ON parent.oid = con.confrelid
CROSS JOIN LATERAL (
  SELECT string_agg(format('child.%I', f.attname), ', ' ORDER BY k.at) AS columns,
    string_agg(format('parent.%I OPERATOR(%I.%s) child.%I%s', p.attname, o.nspname, op.oprname, f.attname,
      CASE WHEN p.attcollation <> 0 AND p.attcollation <> f.attcollation
        THEN format(' COLLATE %I.%I', cn.nspname, co.collname) ELSE '' END), ' AND ' ORDER BY k.at) AS equal
  FROM unnest(con.conkey, con.confkey, con.conpfeqop) WITH ORDINALITY AS k (child, parent, operator, at)
  JOIN pg_attribute f ON f.attrelid = con.conrelid AND f.attnum = k.child
  JOIN pg_attribute p ON p.attrelid = con.confrelid AND p.attnum = k.parent
  JOIN pg_operator op ON op.oid = k.operator JOIN pg_namespace o ON o.oid = op.oprnamespace
  LEFT JOIN pg_collation co ON co.oid = p.attcollation LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
) keys
WHERE con.contype = 'f' AND con.conparentid = 0 ORDER BY 4
"""

# NULLs are equal to nothing unless the index says so. An expression of a valid index is what it was made of.
UNIQUE = """
SELECT 'unique index' AS name, i.indrelid::regclass::text AS "table", '' AS also, i.indexrelid::regclass::text AS object,
  false AS unproven, '' AS other, CASE WHEN i.indisexclusion THEN 'exclusion constraints and periods are not compared' ELSE ''
    END AS skip,
  format('{found} of %s more than once', i.indrelid::regclass) AS damage,
  format('SELECT count(*) AS found FROM (SELECT FROM (SELECT %s FROM ONLY %s WHERE %s) AS keys WHERE %s GROUP BY %s'
    ' HAVING count(*) > 1) AS twice', keys.expressions, i.indrelid::regclass,
    coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'),
    CASE WHEN coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) THEN 'true'
      ELSE format('num_nulls(%s) = 0', keys.names) END, keys.names) AS sql
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
CROSS JOIN LATERAL (
  SELECT string_agg(format('k%s', k.at), ', ' ORDER BY k.at) AS names,
    string_agg(format('(%s)%s AS k%s', pg_get_indexdef(i.indexrelid, k.at::int, false),
      CASE WHEN k.coll <> 0 THEN format(' COLLATE %I.%I', n.nspname, co.collname) ELSE '' END, k.at), ', ' ORDER BY k.at)
      AS expressions
  FROM unnest(i.indcollation::oid[]) WITH ORDINALITY AS k (coll, at)
  LEFT JOIN pg_collation co ON co.oid = k.coll LEFT JOIN pg_namespace n ON n.oid = co.collnamespace
  WHERE k.at <= i.indnkeyatts
) keys
WHERE (i.indisunique OR i.indisexclusion) AND c.relkind = 'i' AND i.indrelid >= 16384 AND i.indisvalid AND c.relpersistence <> 't'
  AND c.relnamespace <> 'pg_toast'::regnamespace
ORDER BY 4
"""

# One reading of the table for all its columns. PostgreSQL 17 and later take `IS NULL` on such a column for false without looking;
# they don't do so with num_nulls.
NOT_NULL = """
SELECT 'not null' AS name, c.oid::regclass::text AS "table", '' AS also, c.oid::regclass::text AS object, n.unproven,
  '' AS other, '' AS skip, '{found} without a value in {column}' AS damage,
  format('SELECT listed.* FROM (SELECT %s FROM ONLY %s) AS counts, LATERAL (VALUES %s) AS listed ("column", found)',
    string_agg(format('count(*) FILTER (WHERE num_nulls(%I) > 0) AS n%s', a.attname, a.attnum), ', '), c.oid::regclass,
    string_agg(format('(%L, n%s)', a.attname, a.attnum), ', ' ORDER BY a.attnum)) AS sql
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
CROSS JOIN LATERAL (
  SELECT count(*) > 0 AS unproven FROM pg_constraint n
  WHERE n.conrelid = c.oid AND n.contype = 'n' AND n.conkey = ARRAY[a.attnum] AND NOT n.convalidated
) n
WHERE c.relkind = 'r' AND c.oid >= 16384 AND c.relpersistence <> 't' AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped
GROUP BY c.oid, n.unproven ORDER BY 2, 5
"""

CHECKS = """
SELECT 'check constraint' AS name, c.oid::regclass::text AS "table", '' AS also, format('%s (%s)', c.oid::regclass, con.conname)
    AS object, NOT con.convalidated AS unproven, '' AS other,
  CASE WHEN NOT coalesce((to_jsonb(con) ->> 'conenforced')::bool, true) THEN 'it is NOT ENFORCED' ELSE '' END AS skip,
  format('{found} of %s against it', c.oid::regclass) AS damage,
  format('SELECT count(*) AS found FROM ONLY %s WHERE NOT (%s)', c.oid::regclass, pg_get_expr(con.conbin, con.conrelid)) AS sql
FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid
WHERE con.contype = 'c' AND c.relkind = 'r' AND c.oid >= 16384 AND c.relpersistence <> 't' ORDER BY 4
"""

# Behind: the next value isn't beyond the column's greatest (or least, if it counts down), so an INSERT will hit a row.
SEQUENCES = f"""
SELECT 'sequence' AS name, t.oid::regclass::text AS "table", s.seqrelid::regclass::text AS object, false AS unproven, '' AS other,
  CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT') THEN ''
    ELSE format('GRANT SELECT ON SEQUENCE %s TO %I', s.seqrelid::regclass, current_user) END AS also,
  CASE WHEN a.atttypid NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
    THEN format('%s.%I does not hold numbers', t.oid::regclass, a.attname) ELSE '' END AS skip,
  format('its next value is taken or passed in %s.%I', t.oid::regclass, a.attname) AS damage,
  format('SELECT count(*) AS found FROM %s AS sequence, (SELECT %s(%I) AS edge FROM %s) AS rows'
    ' WHERE last_value::numeric + CASE WHEN is_called THEN %s ELSE 0 END %s edge', s.seqrelid::regclass,
    CASE WHEN s.seqincrement > 0 THEN 'max' ELSE 'min' END, a.attname, t.name, s.seqincrement,
    CASE WHEN s.seqincrement > 0 THEN '<=' ELSE '>=' END) AS sql
FROM pg_sequence s
JOIN pg_depend d ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
JOIN {_KEY} t ON t.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
JOIN pg_class c ON c.oid = s.seqrelid WHERE c.relpersistence <> 't' ORDER BY 3
"""

CONSTRAINTS = {
    "foreign key": FOREIGN_KEYS,
    "unique index": UNIQUE,
    "not null": NOT_NULL,
    "check constraint": CHECKS,
    "sequence": SEQUENCES,
}

INVALID = """
SELECT i.indexrelid::regclass::text AS object, i.indrelid::regclass::text AS "table"
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relpersistence <> 't' ORDER BY 1
"""

# amcheck's functions, wherever they are: with how many arguments, and whether our role may run them.
AMCHECK = """
SELECT p.proname AS name, p.oid::regproc::text AS called, p.pronargs AS arguments,
  has_schema_privilege(p.pronamespace, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE') AS allowed,
  format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, current_user) AS needed
FROM pg_extension e JOIN pg_depend d ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
WHERE e.extname = 'amcheck' AND p.proname IN ('bt_index_check', 'gin_index_check', 'verify_heapam')
ORDER BY p.proname, p.pronargs DESC
"""
AMCHECK_IS_OFFERED = "SELECT count(*) AS found FROM pg_available_extensions WHERE name = 'amcheck'"

# Indexes that are whole by PostgreSQL's own word; those of its catalogs (oid below 16384) are one question together.
INDEXES = """
SELECT i.indexrelid::int8 AS oid, coalesce(owner.oid, i.indrelid)::regclass::text AS "table", am.amname AS method,
  CASE WHEN owner.oid IS NULL THEN i.indexrelid::regclass::text
    ELSE format('%s (index of its long values)', owner.oid::regclass) END AS object,
  i.indrelid < 16384 AS own
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_class owner ON owner.reltoastrelid = i.indrelid
WHERE c.relkind = 'i' AND i.indisvalid AND i.indisready AND c.relpersistence <> 't' ORDER BY 5, 4
"""
HEAPS = """
SELECT c.oid::int8 AS oid, c.reltoastrelid::int8 AS toast, c.oid::regclass::text AS "table", c.oid < 16384 AS own
FROM pg_class c WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.relam <> 0 ORDER BY 4, 3
"""
