-- The compiler: from the rows of control.delegation to policies, grants and workspaces, and what differs from what is live.
-- It lives in the database because a province delegates with its own login, whom no client program can be trusted to check.
--   control.sight()        live delegations, per dataset and database role
--   control.wanted_*()     the policies and privileges that follow        control.live_*()   those that there are
--   control.access_drift() the difference, as SQL                         control.apply_access()  carries it out
--   control.delegate(), control.revoke(), control.my_delegations()        what people with a login may call
--   control.take_turn()    carries out what they asked for, when their transaction is committed and not before
-- Policies are written just as PostgreSQL prints them, so that text can be compared with text; how it prints them is fixed in the
-- functions, so that no session's settings can make everything differ.

-- ---------------------------------------------------------------- what follows from the delegations

CREATE OR REPLACE FUNCTION control.span() RETURNS TABLE (id text, holder_id text, role name, from_at timestamptz, until_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Who holds what was given to `id`, and when: itself, and after a merger the province that took its place.
    WITH RECURSIVE line AS (
        SELECT g.id, g.id AS holder_id, g.role, g.valid_from, g.valid_until, g.heir_id FROM control.grantee g WHERE g.ended_at IS NULL
        UNION ALL
        SELECT line.id, h.id, h.role, h.valid_from, h.valid_until, h.heir_id FROM line JOIN control.grantee h ON h.id = line.heir_id AND h.ended_at IS NULL
    )
    SELECT id, holder_id, role, valid_from, valid_until FROM line
$$;

CREATE OR REPLACE FUNCTION control.holder(p_id text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Who holds today what was given to `p_id`. The same walk as control.span(), for one id.
    WITH RECURSIVE line AS (
        SELECT g.* FROM control.grantee g WHERE g.id = p_id AND g.ended_at IS NULL
        UNION ALL SELECT h.* FROM line JOIN control.grantee h ON h.id = line.heir_id AND h.ended_at IS NULL
    )
    SELECT id FROM line WHERE (valid_from IS NULL OR valid_from <= now()) AND (valid_until IS NULL OR valid_until > now()) LIMIT 1
$$;

CREATE OR REPLACE FUNCTION control.sight()
RETURNS TABLE (delegation_id bigint, name text, role name, dataset text, provinces text[], communes text[], commune_field text,
               in_clear text[], sees_all_clear boolean, periods_from date, periods_until date, from_at timestamptz, until_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- A beginning that had passed when the delegation was entered needs no clause.
    SELECT d.delegation_id, d.name, s.role, t.dataset, d.provinces, d.communes, t.commune_field, c.fields,
           c.fields <> '{}' AND c.fields = t.restricted, d.periods_from, d.periods_until,
           CASE WHEN greatest(d.from_at, s.from_at) > d.created_at THEN greatest(d.from_at, s.from_at) END,
           least(d.until_at, s.until_at)
    FROM control.delegation d
    JOIN control.span() s ON s.id = d.grantee AND (NOT d.is_own OR s.holder_id = d.grantee)
    JOIN control.dataset t ON (d.datasets IS NULL OR t.dataset = ANY (d.datasets)) AND (d.communes IS NULL OR t.commune_field IS NOT NULL)
    CROSS JOIN LATERAL (
        SELECT ARRAY(SELECT f FROM unnest(t.restricted) f WHERE d.in_clear IS NULL OR t.dataset || '.' || f = ANY (d.in_clear)) AS fields
    ) c
    WHERE d.revoked_at IS NULL AND (d.until_at IS NULL OR d.until_at > now()) AND (s.until_at IS NULL OR s.until_at > now())
$$;

CREATE OR REPLACE FUNCTION control.clause(p_column text, p_values text[]) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN cardinality(p_values) = 1 THEN format('(%I = %L::text)', p_column, p_values[1])
           ELSE format('(%I = ANY (ARRAY[%s]))', p_column, (SELECT string_agg(format('%L::text', v), ', ' ORDER BY v COLLATE "C") FROM unnest(p_values) v)) END
$$;

CREATE OR REPLACE FUNCTION control.all_of(VARIADIC p_clauses text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE count(*) WHEN 0 THEN 'true' WHEN 1 THEN min(c) ELSE '(' || string_agg(c, ' AND ' ORDER BY place) || ')' END
    FROM unnest(p_clauses) WITH ORDINALITY AS u (c, place) WHERE c IS NOT NULL
$$;

CREATE OR REPLACE FUNCTION control.base_right() RETURNS TABLE (object text, role name, privilege text, columns text[])
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- What the pipeline, the centre, the auditor and everybody with a login may do with the control tables; no columns: all.
    SELECT object, role::name, unnest(privileges), columns FROM (VALUES
        ('contract', 'ndc_loader', '{SELECT,INSERT,UPDATE}'::text[], NULL::text[]),
        ('dataset', 'ndc_loader', '{SELECT,INSERT,UPDATE}', NULL),
        ('province', 'ndc_loader', '{SELECT,INSERT,DELETE}', NULL),
        ('commune', 'ndc_loader', '{SELECT,INSERT,DELETE}', NULL),
        ('commune', 'ndc_people', '{SELECT}', NULL),
        ('commune', 'ndc_centre', '{SELECT}', NULL),
        ('commune', 'ndc_auditor', '{SELECT}', NULL),
        ('delivery', 'ndc_loader', '{SELECT,INSERT,UPDATE}', NULL),
        ('rejection', 'ndc_loader', '{SELECT,INSERT,DELETE}', NULL),
        ('reconciliation', 'ndc_loader', '{SELECT,INSERT,DELETE}', NULL),
        ('decision', 'ndc_loader', '{SELECT,INSERT}', NULL),
        ('notice', 'ndc_loader', '{SELECT,INSERT,UPDATE}', NULL),
        ('notice_item', 'ndc_loader', '{SELECT,INSERT}', NULL),
        ('notice_channel', 'ndc_loader', '{SELECT,INSERT,UPDATE}', NULL),
        ('expected', 'ndc_loader', '{SELECT,INSERT}', NULL),
        ('announcement', 'ndc_loader', '{SELECT,INSERT}', NULL),
        ('announcement', 'ndc_people', '{SELECT}', NULL),
        ('pseudonym_key', 'ndc_loader', '{SELECT,INSERT,UPDATE}', NULL),
        ('contract', 'ndc_people', '{SELECT}', NULL),
        ('dataset', 'ndc_people', '{SELECT}', NULL),
        ('province', 'ndc_people', '{SELECT}', NULL),
        ('contract', 'ndc_centre', '{SELECT}', NULL),
        ('dataset', 'ndc_centre', '{SELECT}', NULL),
        ('province', 'ndc_centre', '{SELECT}', NULL),
        ('delivery', 'ndc_centre', '{SELECT}', NULL),
        ('rejection', 'ndc_centre', '{SELECT}', '{delivery_id,sender,line,field,rule,severity}'),
        ('reconciliation', 'ndc_centre', '{SELECT}', NULL),
        ('decision', 'ndc_centre', '{SELECT}', NULL),
        ('notice', 'ndc_centre', '{SELECT}', NULL),
        ('notice_item', 'ndc_centre', '{SELECT}', NULL),
        ('notice_channel', 'ndc_centre', '{SELECT}', NULL),
        ('expected', 'ndc_centre', '{SELECT}', NULL),
        ('announcement', 'ndc_centre', '{SELECT}', NULL),
        ('grantee', 'ndc_centre', '{SELECT}', NULL),
        ('delegation', 'ndc_centre', '{SELECT}', NULL),
        ('contract', 'ndc_auditor', '{SELECT}', NULL),
        ('dataset', 'ndc_auditor', '{SELECT}', NULL),
        ('province', 'ndc_auditor', '{SELECT}', NULL),
        ('delivery', 'ndc_auditor', '{SELECT}', NULL),
        ('rejection', 'ndc_auditor', '{SELECT}', '{delivery_id,sender,line,field,rule,severity}'),
        ('reconciliation', 'ndc_auditor', '{SELECT}', '{delivery_id,sender,dataset,target,period,scope,is_total,measure,unit,line,ties}'),
        ('decision', 'ndc_auditor', '{SELECT}', NULL),
        ('notice', 'ndc_auditor', '{SELECT}', NULL),
        ('notice_item', 'ndc_auditor', '{SELECT}', NULL),
        ('notice_channel', 'ndc_auditor', '{SELECT}', NULL),
        ('expected', 'ndc_auditor', '{SELECT}', NULL),
        ('announcement', 'ndc_auditor', '{SELECT}', NULL),
        ('grantee', 'ndc_auditor', '{SELECT}', NULL),
        ('delegation', 'ndc_auditor', '{SELECT}', NULL),
        ('membership', 'ndc_auditor', '{SELECT}', NULL),
        ('access_change', 'ndc_auditor', '{SELECT}', NULL),
        ('pseudonym_key', 'ndc_auditor', '{SELECT}', NULL)
    ) AS b (object, role, privileges, columns)
$$;

CREATE OR REPLACE FUNCTION control.workspace(p_province text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT 'workspace_' || replace(p_province, '-', '_') $$;

CREATE OR REPLACE FUNCTION control.own_ledger() RETURNS TABLE (delegation_id bigint, role name, senders text[], from_at timestamptz, until_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Whoever sees its own rows sees its own deliveries, and those of the provinces that went into it.
    SELECT d.delegation_id, s.role, d.provinces, CASE WHEN greatest(d.from_at, s.from_at) > d.created_at THEN greatest(d.from_at, s.from_at) END, least(d.until_at, s.until_at)
    FROM control.delegation d JOIN control.span() s ON s.id = d.grantee AND s.holder_id = d.grantee
    WHERE d.is_own AND d.revoked_at IS NULL AND (d.until_at IS NULL OR d.until_at > now()) AND (s.until_at IS NULL OR s.until_at > now())
$$;

CREATE OR REPLACE FUNCTION control.wanted_policy() RETURNS TABLE (relation text, name text, definition text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
    SELECT format('%I.%I', c.schema, s.dataset), 'dlg_' || s.delegation_id || CASE WHEN s.shared THEN '_' || left(md5(s.role), 8) ELSE '' END,
           format('FOR SELECT TO %I USING (%s)', s.role, control.all_of(
               control.clause('province_id', s.provinces), control.clause(s.commune_field, s.communes),
               '(period >= ' || quote_literal(s.periods_from) || '::date)', '(period <= ' || quote_literal(s.periods_until) || '::date)',
               '(now() >= ' || quote_literal(s.from_at) || '::timestamp with time zone)', '(now() < ' || quote_literal(s.until_at) || '::timestamp with time zone)'))
    FROM (SELECT *, count(*) OVER (PARTITION BY delegation_id, dataset) > 1 AS shared FROM control.sight()) s
    JOIN (VALUES ('national'), ('personal')) c (schema) ON c.schema = 'national' OR s.in_clear <> '{}'
    WHERE to_regclass(format('%I.%I', c.schema, s.dataset)) IS NOT NULL
    UNION ALL
    SELECT 'control.' || t.name, 'dlg_' || o.delegation_id, format('FOR SELECT TO %I USING (%s)', o.role,
               control.all_of(control.clause('sender', o.senders), '(now() >= ' || quote_literal(o.from_at) || '::timestamp with time zone)',
                   '(now() < ' || quote_literal(o.until_at) || '::timestamp with time zone)'))
    FROM control.own_ledger() o CROSS JOIN (VALUES ('delivery'), ('rejection'), ('reconciliation'), ('decision'), ('expected')) t (name)
    UNION ALL
    SELECT format('%I.%I', n.nspname, c.relname), 'loader', 'FOR ALL TO ndc_loader USING (true) WITH CHECK (true)'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN control.dataset t ON t.dataset = c.relname
    WHERE n.nspname IN ('national', 'personal') AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT 'control.' || c.relname, 'owner', 'FOR ALL TO ndc_owner USING (true) WITH CHECK (true)'
    FROM pg_class c WHERE c.relnamespace = 'control'::regnamespace AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT DISTINCT 'control.' || b.object, substr(b.role, 5),
           CASE WHEN b.role = 'ndc_loader' THEN 'FOR ALL TO ndc_loader USING (true) WITH CHECK (true)' ELSE format('FOR SELECT TO %I USING (true)', b.role) END
    FROM control.base_right() b
$$;

CREATE OR REPLACE FUNCTION control.live_policy() RETURNS TABLE (relation text, name text, definition text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
    SELECT format('%I.%I', n.nspname, c.relname), p.polname,
           CASE WHEN p.polpermissive THEN '' ELSE 'AS RESTRICTIVE ' END || 'FOR '
           || CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END || ' TO '
           || (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(p.polroles) r)
           || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '') || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('national', 'personal', 'parts', 'mart', 'open', 'control')
$$;

CREATE OR REPLACE FUNCTION control.wanted_privilege() RETURNS TABLE (kind text, object text, field text, role name, privilege text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
    WITH seen AS (SELECT DISTINCT role, dataset, in_clear, sees_all_clear, commune_field FROM control.sight()),
         ledger AS (SELECT DISTINCT role FROM control.own_ledger()),
         held AS (SELECT t.dataset, t.restricted, n.schema FROM control.dataset t CROSS JOIN (VALUES ('national'), ('personal')) n (schema)
                  WHERE to_regclass(format('%I.%I', n.schema, t.dataset)) IS NOT NULL),
         columns AS (SELECT t.dataset, a.attname::text AS field, a.attname = ANY (t.restricted) AS is_restricted
                     FROM control.dataset t JOIN pg_attribute a ON a.attrelid = to_regclass(format('%I.%I', 'national', t.dataset)) AND a.attnum > 0 AND NOT a.attisdropped),
         -- A whole table, unless it holds a restricted column (a classification may change before the table does): then the others.
         opened AS (SELECT dataset, NULL AS field FROM columns GROUP BY dataset HAVING NOT bool_or(is_restricted)
                    UNION ALL SELECT dataset, field FROM columns c WHERE NOT is_restricted AND EXISTS (SELECT FROM columns x WHERE x.dataset = c.dataset AND x.is_restricted))
    SELECT 'schema', quote_ident(s.name), NULL, r.role, 'USAGE' FROM (VALUES ('national'), ('personal'), ('control')) s (name)
        CROSS JOIN (VALUES ('ndc_loader'::name)) r (role)
    UNION SELECT 'schema', 'control', NULL, r.role::name, 'USAGE' FROM (VALUES ('ndc_centre'), ('ndc_auditor'), ('ndc_people')) r (role)
    UNION SELECT 'schema', quote_ident('national'), NULL, role, 'USAGE' FROM seen
    UNION SELECT 'schema', 'personal', NULL, role, 'USAGE' FROM seen WHERE in_clear <> '{}'
    UNION SELECT 'schema', 'control', NULL, role, 'USAGE' FROM ledger
    UNION SELECT 'table', format('%I.%I', 'national', s.dataset), o.field, s.role, 'SELECT' FROM seen s JOIN opened o ON o.dataset = s.dataset
    UNION SELECT 'table', format('%I.%I', 'personal', dataset), f, role, 'SELECT' FROM seen
        CROSS JOIN LATERAL unnest(array_cat('{province_id,period,delivery_id,line}', array_cat(in_clear, CASE WHEN commune_field IS NOT NULL THEN ARRAY[commune_field] ELSE '{}' END))) f
        WHERE in_clear <> '{}' AND to_regclass(format('%I.%I', 'personal', dataset)) IS NOT NULL
    UNION SELECT 'table', format('%I.%I', 'national', dataset || '_in_clear'), NULL, role, 'SELECT' FROM seen
        WHERE sees_all_clear AND to_regclass(format('%I.%I', 'national', dataset || '_in_clear')) IS NOT NULL
    UNION SELECT 'table', format('%I.%I', h.schema, h.dataset), NULL, 'ndc_loader', p FROM held h CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('DELETE')) v (p)
    UNION SELECT 'table', format('%I.%I', 'national', h.dataset), a.attname, 'ndc_loader', 'UPDATE'
        FROM held h JOIN pg_attribute a ON a.attrelid = to_regclass(format('%I.%I', 'national', h.dataset)) AND a.attnum > 0 AND NOT a.attisdropped
        JOIN LATERAL unnest(h.restricted) f ON a.attname = f || '_pseudonym' WHERE h.schema = 'national'
    UNION SELECT 'table', 'control.' || b.object, f, b.role, b.privilege FROM control.base_right() b LEFT JOIN LATERAL unnest(b.columns) f ON true
    UNION SELECT 'table', 'control.' || t.name, NULL, role, 'SELECT' FROM ledger CROSS JOIN (VALUES ('delivery'), ('rejection'), ('reconciliation'), ('decision'), ('expected')) t (name)
    UNION SELECT 'table', 'control.delivery_status', NULL, role, 'SELECT'
        FROM (SELECT role FROM ledger UNION VALUES ('ndc_loader'::name), ('ndc_centre'), ('ndc_auditor')) r  -- whoever reads both of its tables
    UNION SELECT 'function', p.oid::regprocedure::text, NULL, 'ndc_people', 'EXECUTE' FROM pg_proc p
        WHERE p.pronamespace = 'control'::regnamespace AND p.proname IN ('delegate', 'revoke', 'my_delegations')
    UNION SELECT 'function', p.oid::regprocedure::text, NULL, 'ndc_loader', 'EXECUTE' FROM pg_proc p
        WHERE p.pronamespace = 'control'::regnamespace AND p.proname IN ('new_leaf', 'index_leaf', 'attach_leaf')
    UNION SELECT 'schema', quote_ident(control.workspace(g.id)), NULL, s.role, p FROM control.grantee g JOIN control.span() s ON s.id = g.id CROSS JOIN (VALUES ('USAGE'), ('CREATE')) v (p)
        WHERE g.kind = 'province' AND (s.from_at IS NULL OR s.from_at <= now()) AND (s.until_at IS NULL OR s.until_at > now())
          AND (s.holder_id = g.id OR to_regnamespace(control.workspace(g.id)) IS NOT NULL)
    UNION SELECT 'schema', quote_ident(control.workspace(d.workspace_of)), NULL, s.role, 'USAGE' FROM control.delegation d JOIN control.span() s ON s.id = d.grantee
        WHERE d.workspace_of IS NOT NULL AND d.revoked_at IS NULL AND d.from_at <= now() AND (d.until_at IS NULL OR d.until_at > now())
          AND (s.from_at IS NULL OR s.from_at <= now()) AND (s.until_at IS NULL OR s.until_at > now())
$$;

CREATE OR REPLACE FUNCTION control.live_privilege() RETURNS TABLE (kind text, object text, field text, role name, privilege text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
    WITH ours AS (SELECT oid, nspname, nspacl, nspowner FROM pg_namespace
                  WHERE nspname IN ('national', 'personal', 'parts', 'mart', 'open', 'control') OR nspname LIKE 'workspace\_%'),
    held AS (
        SELECT 'schema' AS kind, quote_ident(n.nspname) AS object, NULL::text AS field, n.nspowner AS owner, a.* FROM ours n CROSS JOIN LATERAL aclexplode(n.nspacl) a
        UNION ALL
        SELECT 'table', format('%I.%I', n.nspname, c.relname), NULL, c.relowner, a.* FROM ours n JOIN pg_class c ON c.relnamespace = n.oid CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE n.nspname NOT LIKE 'workspace\_%'
        UNION ALL
        SELECT 'table', format('%I.%I', n.nspname, c.relname), t.attname, c.relowner, a.* FROM ours n JOIN pg_class c ON c.relnamespace = n.oid
        JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE n.nspname NOT LIKE 'workspace\_%'
        UNION ALL
        SELECT 'function', p.oid::regprocedure::text, NULL, p.proowner, a.* FROM ours n JOIN pg_proc p ON p.pronamespace = n.oid
        CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE n.nspname NOT LIKE 'workspace\_%'
    )
    SELECT kind, object, field, CASE WHEN grantee = 0 THEN 'public' ELSE pg_get_userbyid(grantee) END,
           privilege_type || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM held WHERE grantee <> owner
$$;

CREATE OR REPLACE FUNCTION control.access_drift() RETURNS TABLE (step int, what text, object text, name text, role text, statement text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
    WITH policy AS (
        SELECT coalesce(w.relation, l.relation) AS relation, coalesce(w.name, l.name) AS name, w.definition AS wanted, l.definition AS live
        FROM control.wanted_policy() w FULL JOIN control.live_policy() l ON w.relation = l.relation AND w.name = l.name
        WHERE w.definition IS DISTINCT FROM l.definition
    ), privilege AS (
        SELECT kind, object, field, role, privilege, true AS is_wanted FROM (SELECT * FROM control.wanted_privilege() EXCEPT SELECT * FROM control.live_privilege()) w
        UNION ALL
        SELECT kind, object, field, role, privilege, false FROM (SELECT * FROM control.live_privilege() EXCEPT SELECT * FROM control.wanted_privilege()) l
    )
    SELECT 1, 'workspace', control.workspace(g.id), NULL, g.role::text, format('CREATE SCHEMA %I', control.workspace(g.id))
    FROM control.grantee g WHERE g.kind = 'province' AND g.ended_at IS NULL AND (g.valid_from IS NULL OR g.valid_from <= now()) AND (g.valid_until IS NULL OR g.valid_until > now())
        AND to_regnamespace(control.workspace(g.id)) IS NULL
    UNION ALL
    SELECT 2, 'row security', format('%I.%I', n.nspname, c.relname), NULL, NULL,
           format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('national', 'personal', 'parts', 'mart', 'control') AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
    UNION ALL
    SELECT 3, 'policy', relation, name, substring(coalesce(wanted, live) FROM ' TO (.*?)(?: USING| WITH CHECK|$)'), concat_ws('; ',
           CASE WHEN live IS NOT NULL THEN format('DROP POLICY %I ON %s', name, relation) END,
           CASE WHEN wanted IS NOT NULL THEN format('CREATE POLICY %I ON %s %s', name, relation, wanted) END)
    FROM policy
    UNION ALL
    SELECT CASE WHEN is_wanted THEN 5 ELSE 4 END, 'grant', object, NULL, role, CASE WHEN is_wanted
           THEN format('GRANT %s%s ON %s %s TO %I', privilege, fields, kind, object, role)
           ELSE format('REVOKE %s%s%s ON %s %s FROM %s', CASE WHEN privilege LIKE '% WITH GRANT OPTION' THEN 'GRANT OPTION FOR ' ELSE '' END,
                       replace(privilege, ' WITH GRANT OPTION', ''), fields, kind, object, CASE WHEN role = 'public' THEN 'PUBLIC' ELSE quote_ident(role) END) END
    FROM (SELECT kind, object, role, privilege, is_wanted, coalesce(' (' || string_agg(quote_ident(field), ', ') || ')', '') AS fields
          FROM privilege GROUP BY kind, object, role, privilege, is_wanted, field IS NULL) p
    ORDER BY 1, 3, 4
$$;

CREATE OR REPLACE FUNCTION control.lock_tables(p_tables text[], p_tries int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_table text;
BEGIN
    -- A lock is taken at once or not at all, at first, and later with a short wait, so that no reader queues behind us for long.
    FOR attempt IN 1..p_tries LOOP
        BEGIN
            PERFORM set_config('lock_timeout', CASE WHEN attempt <= 10 THEN '1ms' ELSE greatest(400 / greatest(cardinality(p_tables), 1), 5) || 'ms' END, true);
            FOREACH v_table IN ARRAY coalesce(p_tables, '{}') LOOP
                EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', v_table);
            END LOOP;
            PERFORM set_config('lock_timeout', '0', true);
            RETURN true;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
        PERFORM pg_sleep(least(0.02 * attempt, 0.5));
    END LOOP;
    RETURN false;
END $$;

DROP FUNCTION IF EXISTS control.apply_access();
DROP FUNCTION IF EXISTS control.end_access();

CREATE OR REPLACE FUNCTION control.is_about(p_policy text, p_delegations bigint[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT p_delegations IS NULL OR substring(p_policy FROM '^dlg_([0-9]+)')::bigint = ANY (p_delegations) $$;

CREATE OR REPLACE FUNCTION control.apply_access(p_delegations bigint[] DEFAULT NULL, p_tries int DEFAULT 60) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_statements text[];
    v_tables text[];
BEGIN
    -- Everything is known before anything is locked; then the locks are held for the change of the catalogue alone. With delegations named,
    -- only their tables are touched, so that nobody waits for a table that is no business of theirs; what else differs there is mended, too.
    PERFORM pg_advisory_xact_lock(11);
    WITH drift AS MATERIALIZED (SELECT * FROM control.access_drift()),
         mine AS (SELECT DISTINCT object FROM drift WHERE what = 'policy' AND control.is_about(name, p_delegations)
                  UNION SELECT object FROM drift WHERE what = 'row security' AND p_delegations IS NULL),
         others AS (SELECT object FROM drift WHERE what = 'policy' EXCEPT SELECT object FROM mine)
    SELECT array_agg(statement ORDER BY step, object, name), (SELECT array_agg(object) FROM mine) INTO v_statements, v_tables
    FROM drift WHERE object IN (SELECT object FROM mine) OR (what IN ('grant', 'workspace') AND object NOT IN (SELECT object FROM others));
    IF v_statements IS NULL THEN
        RETURN 0;
    END IF;
    IF NOT control.lock_tables(v_tables, p_tries) THEN
        RAISE lock_not_available USING MESSAGE = 'Các bảng đang bận · The tables are busy';
    END IF;
    FOR i IN 1..cardinality(v_statements) LOOP
        EXECUTE v_statements[i];
    END LOOP;
    RETURN cardinality(v_statements);
END $$;

CREATE OR REPLACE FUNCTION control.kin(p_role text) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- The role, its members, and the other roles of these members: all through which a table could be read with the role's policies.
    WITH RECURSIVE member AS (
        SELECT r.oid FROM pg_roles r WHERE quote_ident(r.rolname) = p_role UNION SELECT m.member FROM member JOIN pg_auth_members m ON m.roleid = member.oid)
    SELECT DISTINCT r.rolname FROM pg_roles r JOIN control.grantee g ON g.role = r.rolname AND g.kind IN ('province', 'organisation', 'person')
    WHERE EXISTS (SELECT FROM member m JOIN pg_roles x ON x.oid = m.oid WHERE NOT x.rolsuper AND pg_has_role(m.oid, r.oid, 'MEMBER'))
$$;

CREATE OR REPLACE FUNCTION control.end_access(p_delegations bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v_step record;
BEGIN
    -- What ends must end now, or whoever reads could keep it alive by reading on. A policy needs the table for itself, a REVOKE does not:
    -- where a table is busy, the grantee, and every group of its members, lose it whole until apply_access() gives back what is theirs.
    BEGIN
        PERFORM control.apply_access(p_delegations, 12);
        RETURN;
    EXCEPTION WHEN lock_not_available THEN
        NULL;
    END;
    PERFORM set_config('lock_timeout', '10s', true);
    FOR v_step IN WITH ending AS (SELECT object, role FROM control.access_drift() WHERE what = 'policy' AND statement NOT LIKE '%CREATE POLICY%' AND control.is_about(name, p_delegations))
                  SELECT DISTINCT format('REVOKE ALL ON %s FROM %I', e.object, k) AS statement FROM ending e CROSS JOIN LATERAL control.kin(e.role) k
                  UNION SELECT d.statement FROM control.access_drift() d WHERE d.statement LIKE 'REVOKE %' AND d.role IN (SELECT role FROM ending) LOOP
        EXECUTE v_step.statement;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
    RAISE WARNING 'Bảng đang bận: đã cắt quyền của bên nhận trên cả bảng; lần apply sau trả lại phần còn hiệu lực · The tables are busy: the grantee lost them whole; the next apply gives back what still holds';
END $$;

CREATE OR REPLACE FUNCTION control.end_orphans() RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_all bigint[] := '{}';
    v_some bigint[];
BEGIN
    -- Whatever hangs on something that has been revoked ends with it, however deep.
    LOOP
        WITH gone AS (UPDATE control.delegation c SET revoked_at = now(), revoked_by = session_user, revoked_because = 'parent ' || p.name
                      FROM control.delegation p WHERE p.delegation_id = c.parent_id AND c.revoked_at IS NULL AND p.revoked_at IS NOT NULL RETURNING c.delegation_id)
        SELECT array_agg(delegation_id) INTO v_some FROM gone;
        EXIT WHEN v_some IS NULL;
        v_all := v_all || v_some;
    END LOOP;
    RETURN v_all;
END $$;

-- ---------------------------------------------------------------- what may be entered

CREATE OR REPLACE FUNCTION control.beyond(p_child text[], p_parent text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- What `child` has and `parent` has not; NULL stands for everything.
    SELECT CASE WHEN p_parent IS NULL THEN NULL WHEN p_child IS NULL THEN '*'
           ELSE (SELECT string_agg(v, ', ' ORDER BY v) FROM unnest(p_child) v WHERE v <> ALL (p_parent)) END
$$;

CREATE OR REPLACE FUNCTION control.lasts_until(d control.delegation) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- A person holds nothing beyond the last day of its login, and so gives nothing beyond it.
    SELECT least(d.until_at, (SELECT g.valid_until FROM control.grantee g WHERE g.id = d.grantee AND g.kind = 'person'))
$$;

CREATE OR REPLACE FUNCTION control.too_wide(child control.delegation, parent control.delegation) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Which parts of `child` reach beyond `parent`; NULL when none does.
    SELECT nullif(concat_ws('; ',
        CASE WHEN NOT parent.may_redelegate THEN 'may_redelegate' END,
        'datasets: ' || control.beyond(child.datasets, parent.datasets),
        'provinces: ' || control.beyond(child.provinces, parent.provinces),
        'communes: ' || control.beyond(child.communes, parent.communes),
        CASE WHEN parent.periods_from > coalesce(child.periods_from, '-infinity') OR parent.periods_until < coalesce(child.periods_until, 'infinity') THEN 'periods' END,
        'columns: ' || control.beyond(child.in_clear, parent.in_clear),
        CASE WHEN child.from_at < parent.from_at THEN 'from: ' || child.from_at END,
        CASE WHEN child.until_at > control.lasts_until(parent) OR (child.until_at IS NULL AND control.lasts_until(parent) IS NOT NULL) THEN 'until: ' || coalesce(child.until_at::text, '*') END,
        CASE WHEN child.workspace_of <> CASE WHEN parent.is_own THEN control.holder(parent.grantee) ELSE coalesce(parent.workspace_of, '') END THEN 'workspace' END), '')
$$;

CREATE OR REPLACE FUNCTION control.check_delegation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_parent control.delegation;
    v_wide text;
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND (to_jsonb(NEW) - '{parent_id,revoked_at,revoked_by,revoked_because}'::text[])
                            <> (to_jsonb(OLD) - '{parent_id,revoked_at,revoked_by,revoked_because}'::text[])) THEN
        RAISE EXCEPTION 'Phân quyền không sửa, không xoá, chỉ thu hồi · A delegation is revoked, never changed or deleted' USING ERRCODE = 'ND005';
    END IF;
    IF NEW.revoked_at IS NOT NULL THEN
        RETURN NEW;
    END IF;
    IF NEW.parent_id IS NULL THEN
        IF NEW.grantor <> 'centre' THEN
            RAISE EXCEPTION '«%» không có quyền nào để giao lại · % holds no delegation to give on', NEW.grantor, NEW.grantor USING ERRCODE = 'ND001';
        END IF;
        RETURN NEW;
    END IF;
    SELECT * INTO v_parent FROM control.delegation WHERE delegation_id = NEW.parent_id;
    IF v_parent.revoked_at IS NOT NULL OR v_parent.until_at <= now() THEN
        RAISE EXCEPTION 'Quyền gốc «%» đã hết hoặc bị thu hồi · Its parent "%" has ended or is revoked', v_parent.name, v_parent.name USING ERRCODE = 'ND003';
    END IF;
    IF control.holder(v_parent.grantee) IS DISTINCT FROM control.holder(NEW.grantor) THEN
        RAISE EXCEPTION '«%» không giữ quyền «%» · % does not hold "%"', NEW.grantor, v_parent.name, NEW.grantor, v_parent.name USING ERRCODE = 'ND001';
    END IF;
    IF control.holder(NEW.grantee) IN (SELECT control.holder(a.grantee) FROM control.ancestors(NEW.parent_id) a) THEN
        RAISE EXCEPTION 'Vòng lặp: «%» đã ở phía trên trong chuỗi phân quyền · Circular: % stands above in the chain of delegations', NEW.grantee, NEW.grantee USING ERRCODE = 'ND004';
    END IF;
    v_wide := control.too_wide(NEW, v_parent);
    IF v_wide IS NOT NULL THEN
        RAISE EXCEPTION 'Rộng hơn quyền gốc «%»: % · Wider than its parent "%": %', v_parent.name, v_wide, v_parent.name, v_wide USING ERRCODE = 'ND002';
    END IF;
    IF NEW.workspace_of IS NOT NULL AND (NEW.until_at IS NOT NULL OR NEW.from_at > now()) THEN
        -- The way into a schema is a grant, and PostgreSQL's grants know no day.
        RAISE EXCEPTION 'Vùng làm việc chỉ chia sẻ được từ bây giờ và không có ngày hết; hãy giao riêng, rồi thu hồi khi xong · '
            'A workspace is shared from now on and without an end: share it in a delegation of its own, and revoke that when it is over' USING ERRCODE = 'ND008';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION control.ancestors(p_id bigint) RETURNS SETOF control.delegation
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE up AS (
        SELECT d.* FROM control.delegation d WHERE d.delegation_id = p_id
        UNION SELECT d.* FROM up JOIN control.delegation d ON d.delegation_id = up.parent_id)
    SELECT * FROM up
$$;

CREATE OR REPLACE FUNCTION control.column_conflict() RETURNS TABLE (login name, dataset text, names text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Columns are granted per role, not per row: whoever would see different restricted columns of different rows would see both in both.
    WITH clear AS (SELECT DISTINCT s.role, s.dataset, s.in_clear, s.name FROM control.sight() s WHERE s.in_clear <> '{}'),
    belongs AS (
        SELECT role AS login, role FROM clear
        UNION SELECT l.rolname, g.rolname FROM pg_auth_members m JOIN pg_roles l ON l.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
        WHERE g.rolname IN (SELECT role FROM clear) AND l.rolname IN (SELECT role FROM control.grantee WHERE kind = 'person' AND ended_at IS NULL)
    )
    SELECT b.login, c.dataset, string_agg(DISTINCT c.name || ' (' || array_to_string(c.in_clear, ', ') || ')', '; ')
    FROM belongs b JOIN clear c ON c.role = b.role GROUP BY 1, 2 HAVING count(DISTINCT c.in_clear) > 1
$$;

CREATE OR REPLACE FUNCTION control.said(p_setting text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- What the pipeline says of itself; anybody can set such a setting, so that of a person counts for nothing.
    SELECT nullif(current_setting(p_setting, true), '') WHERE NOT EXISTS (SELECT FROM control.grantee WHERE role = session_user AND kind = 'person')
$$;

CREATE OR REPLACE FUNCTION control.end_children() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A delegation ends with its parent, in the same transaction; when the centre declares the parent anew, it looks after the children.
    IF NEW.is_declared AND control.said('ndc.replacing') = 'on' THEN
        RETURN NULL;
    END IF;
    UPDATE control.delegation SET revoked_at = NEW.revoked_at, revoked_by = NEW.revoked_by, revoked_because = 'parent ' || NEW.name
    WHERE parent_id = NEW.delegation_id AND revoked_at IS NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION control.note_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_row jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
BEGIN
    INSERT INTO control.access_change (login, actor, what, name, before, after, legal_basis)
    VALUES (session_user, control.said('ndc.actor'), TG_TABLE_NAME || ' ' || lower(TG_OP),
            CASE TG_TABLE_NAME WHEN 'grantee' THEN v_row ->> 'id' WHEN 'membership' THEN v_row ->> 'person' ELSE v_row ->> 'name' END,
            CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END, v_row ->> 'legal_basis');
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION control.only_added() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%: chỉ thêm, không sửa, không xoá · rows are only added', TG_TABLE_NAME USING ERRCODE = 'ND005';
END $$;

DO $$ BEGIN
    -- Only those that are missing: making one again would wait for every change that somebody has not committed.
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.delegation'::regclass AND tgname = 'check_delegation') THEN
        CREATE TRIGGER check_delegation BEFORE INSERT OR UPDATE OR DELETE ON control.delegation FOR EACH ROW EXECUTE FUNCTION control.check_delegation();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.delegation'::regclass AND tgname = 'end_children') THEN
        CREATE TRIGGER end_children AFTER UPDATE OF revoked_at ON control.delegation FOR EACH ROW WHEN (NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL) EXECUTE FUNCTION control.end_children();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.delegation'::regclass AND tgname = 'note_change') THEN
        CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON control.delegation FOR EACH ROW EXECUTE FUNCTION control.note_change();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.membership'::regclass AND tgname = 'note_change') THEN
        CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON control.membership FOR EACH ROW EXECUTE FUNCTION control.note_change();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.grantee'::regclass AND tgname = 'note_change') THEN
        CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON control.grantee FOR EACH ROW EXECUTE FUNCTION control.note_change();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.access_change'::regclass AND tgname = 'only_added') THEN
        CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON control.access_change FOR EACH STATEMENT EXECUTE FUNCTION control.only_added();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.delegation'::regclass AND tgname = 'only_revoked') THEN
        CREATE TRIGGER only_revoked BEFORE TRUNCATE ON control.delegation FOR EACH STATEMENT EXECUTE FUNCTION control.only_added();
    END IF;
END $$;

-- ---------------------------------------------------------------- what people with a login may call

DO $$ BEGIN
    IF to_regprocedure('control.site_zone()') IS NULL THEN  -- migrate says which
        CREATE FUNCTION control.site_zone() RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS 'SELECT ''UTC''::text';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION control.commune_meaning(p_code text, p_provinces text[], p_day date) RETURNS SETOF control.commune
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- What a commune's code means in one of the provinces on a day; a day before the list begins is answered as its first.
    SELECT c.* FROM control.commune c CROSS JOIN (SELECT greatest(p_day, min(valid_from)) AS day FROM control.commune) d
    WHERE c.code = p_code AND (p_provinces IS NULL OR c.province_id = ANY (p_provinces)) AND c.valid_from <= d.day AND (c.valid_to IS NULL OR d.day <= c.valid_to) ORDER BY c.valid_from DESC, c.province_id LIMIT 1
$$;

CREATE OR REPLACE FUNCTION control.refuse_contradictions() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_datasets text := (SELECT string_agg(DISTINCT dataset, ', ') FROM control.column_conflict());
BEGIN
    -- Not whose login it is, nor what else it holds: that is no business of the caller.
    IF v_datasets IS NOT NULL THEN
        RAISE EXCEPTION 'Trái nhau: bên nhận sẽ thấy rõ các cột khác nhau của % ở các dòng khác nhau; hãy giao cùng các cột, hoặc giao cho người khác · '
            'Contradictory: the grantee would see different columns of % in clear in different rows; give the same columns, or give them to another',
            v_datasets, v_datasets USING ERRCODE = 'ND007';
    END IF;
END $$;

DROP FUNCTION IF EXISTS control.ask_turn(boolean);

CREATE OR REPLACE FUNCTION control.ask_turn(p_end bigint DEFAULT NULL, p_because text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'Đổi quyền cần mức cô lập READ COMMITTED · Access is changed at the isolation level READ COMMITTED' USING ERRCODE = 'ND001';
    END IF;
    INSERT INTO control.access_turn AS t (transaction, gives, ends, reasons)
    VALUES (pg_current_xact_id(), p_end IS NULL, CASE WHEN p_end IS NULL THEN '{}' ELSE ARRAY[p_end] END, CASE WHEN p_end IS NULL THEN '{}' ELSE ARRAY[p_because] END)
    ON CONFLICT (transaction) DO UPDATE SET gives = t.gives OR excluded.gives, ends = t.ends || excluded.ends, reasons = t.reasons || excluded.reasons;
END $$;

CREATE OR REPLACE FUNCTION control.take_turn() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
DECLARE
    v_turn control.access_turn;
    v_context text;
    v_given bigint[];
    v_ended bigint[];
BEGIN
    -- At the end of the transaction that asked: until then it keeps nobody waiting, and locks nothing. Were it carried out before, by
    -- SET CONSTRAINTS, its locks could be kept for as long as somebody likes. What was true when it asked is looked at again.
    GET DIAGNOSTICS v_context = PG_CONTEXT;
    IF v_context LIKE E'%\n%' OR current_query() ~* 'constraints|prepare\s+transaction' THEN
        RAISE EXCEPTION 'Quyền chỉ đổi khi COMMIT, không bằng SET CONSTRAINTS · Access changes with COMMIT, not by SET CONSTRAINTS' USING ERRCODE = 'ND001';
    END IF;
    DELETE FROM control.access_turn WHERE transaction = NEW.transaction RETURNING * INTO v_turn;
    PERFORM set_config('lock_timeout', '20s', true);
    PERFORM pg_advisory_xact_lock(11);
    IF EXISTS (SELECT FROM control.delegation c JOIN control.delegation p ON p.delegation_id = c.parent_id
               WHERE c.created_at = now() AND c.revoked_at IS NULL AND NOT c.is_declared AND p.revoked_at IS NOT NULL) THEN
        RAISE EXCEPTION 'Quyền gốc vừa bị thu hồi · Its parent was revoked just now' USING ERRCODE = 'ND003';
    END IF;
    IF EXISTS (SELECT FROM control.delegation c WHERE c.created_at = now() AND c.revoked_at IS NULL AND NOT c.is_declared
               AND (control.holder(c.grantee) IS NULL OR control.holder(c.grantor) IS NULL)) THEN
        RAISE EXCEPTION 'Bên giao hoặc bên nhận vừa chấm dứt · Grantor or grantee ended just now' USING ERRCODE = 'ND006';
    END IF;
    UPDATE control.delegation d SET revoked_at = now(), revoked_by = session_user, revoked_because = e.because
    FROM unnest(v_turn.ends, v_turn.reasons) e (id, because) WHERE d.delegation_id = e.id AND d.revoked_at IS NULL;
    PERFORM control.end_orphans();
    PERFORM set_config('lock_timeout', '0', true);
    SELECT array_agg(delegation_id) FILTER (WHERE revoked_at IS NULL), array_agg(delegation_id) FILTER (WHERE revoked_at IS NOT NULL) INTO v_given, v_ended
    FROM control.delegation WHERE created_at = now() OR revoked_at = now();
    IF v_ended IS NOT NULL THEN
        PERFORM control.end_access(v_ended);
    END IF;
    IF v_turn.gives AND v_given IS NOT NULL THEN
        PERFORM control.refuse_contradictions();
        PERFORM control.apply_access(v_given);
    END IF;
    RETURN NULL;
END $$;

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'control.access_turn'::regclass AND tgname = 'take_turn') THEN
        CREATE CONSTRAINT TRIGGER take_turn AFTER INSERT ON control.access_turn DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.take_turn();
    END IF;
END $$;

CREATE OR REPLACE FUNCTION control.spoken_for(p_login name) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- The ids in whose name a login may speak: itself, and the provinces and organisations that it belongs to; of ended ones their heirs speak.
    SELECT s.id FROM control.span() s JOIN control.grantee h ON h.id = s.holder_id JOIN pg_roles r ON r.rolname = h.role
    WHERE (s.from_at IS NULL OR s.from_at <= now()) AND (s.until_at IS NULL OR s.until_at > now()) AND h.kind <> 'group' AND pg_has_role(p_login, r.oid, 'MEMBER')
      AND NOT EXISTS (SELECT FROM control.grantee me WHERE me.role = p_login AND me.valid_until <= now())
$$;

CREATE OR REPLACE FUNCTION control.delegate(
    p_grantee text, p_purpose text, p_legal_basis text, p_datasets text[] DEFAULT NULL, p_provinces text[] DEFAULT NULL, p_communes text[] DEFAULT NULL,
    p_periods_from date DEFAULT NULL, p_periods_until date DEFAULT NULL, p_in_clear text[] DEFAULT '{}', p_from timestamptz DEFAULT NULL, p_until timestamptz DEFAULT NULL, p_may_redelegate boolean DEFAULT false,
    p_workspace boolean DEFAULT false, p_name text DEFAULT NULL, p_grantor text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
-- Give a part of one's own delegation on. What is not said is as wide as the parent, except columns in clear: none.
DECLARE
    v_grantors text[];
    v_parent control.delegation;
    v_new control.delegation;
    v_wide text;
    v_closest text;
    v_unknown text;
BEGIN
    PERFORM control.ask_turn();
    SELECT array_agg(DISTINCT control.holder(d.grantee)) INTO v_grantors FROM control.delegation d
    WHERE d.revoked_at IS NULL AND (d.until_at IS NULL OR d.until_at > now()) AND d.may_redelegate AND d.grantee = ANY (ARRAY(SELECT control.spoken_for(session_user)))
      AND (p_grantor IS NULL OR control.holder(d.grantee) = (SELECT control.holder(p_grantor)));
    IF v_grantors IS NULL THEN
        RAISE EXCEPTION 'Tài khoản % không giữ quyền nào được giao lại % · The login % holds no delegation that it may give on %', session_user,
            coalesce('với tư cách ' || p_grantor, ''), session_user, coalesce('as ' || p_grantor, '') USING ERRCODE = 'ND001';
    ELSIF cardinality(v_grantors) > 1 THEN
        RAISE EXCEPTION 'Giao với tư cách nào: %? · In whose name: %?', array_to_string(v_grantors, ', '), array_to_string(v_grantors, ', ') USING ERRCODE = 'ND001';
    END IF;
    IF (SELECT count(*) FROM control.delegation WHERE revoked_at IS NULL AND (until_at IS NULL OR until_at > now()) AND NOT is_declared AND grantor = v_grantors[1]) >= 1000 THEN
        RAISE EXCEPTION '% đã giao 1.000 quyền đang hiệu lực · % has 1,000 live delegations already', v_grantors[1], v_grantors[1] USING ERRCODE = 'ND009';
    END IF;
    IF NOT EXISTS (SELECT FROM control.grantee g WHERE g.id = p_grantee AND g.kind <> 'group') OR control.holder(p_grantee) IS NULL THEN
        RAISE EXCEPTION 'Không có cơ quan hay người «%» · There is no organisation or person "%"', p_grantee, p_grantee USING ERRCODE = 'ND006';
    END IF;
    SELECT string_agg(x, ', ') INTO v_unknown FROM unnest(p_datasets) x WHERE x NOT IN (SELECT dataset FROM control.dataset);
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION 'Không có tập dữ liệu % · There is no dataset %', v_unknown, v_unknown USING ERRCODE = 'ND006';
    END IF;
    SELECT string_agg(x, ', ') INTO v_unknown FROM unnest(p_in_clear) x
    WHERE x NOT IN (SELECT dataset || '.' || f FROM control.dataset CROSS JOIN unnest(restricted) f WHERE p_datasets IS NULL OR dataset = ANY (p_datasets));
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION 'Không có cột hạn chế % · There is no restricted column %', v_unknown, v_unknown USING ERRCODE = 'ND006';
    END IF;
    SELECT string_agg(dataset, ', ') INTO v_unknown FROM control.dataset WHERE p_communes IS NOT NULL AND dataset = ANY (p_datasets) AND commune_field IS NULL;
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION 'Tập % không có cột xã · The dataset % has no commune column', v_unknown, v_unknown USING ERRCODE = 'ND006';
    END IF;
    FOR v_parent IN SELECT * FROM control.delegation d WHERE d.revoked_at IS NULL AND (d.until_at IS NULL OR d.until_at > now())
                    AND d.grantee = ANY (ARRAY(SELECT s.id FROM control.span() s WHERE s.holder_id = v_grantors[1])) ORDER BY d.grantee = v_grantors[1] DESC, d.is_own DESC, d.delegation_id LOOP
        v_new := v_parent;
        v_new.datasets := coalesce(p_datasets, v_parent.datasets);
        v_new.provinces := coalesce(p_provinces, v_parent.provinces);
        v_new.communes := coalesce(p_communes, v_parent.communes);
        v_new.periods_from := greatest(p_periods_from, v_parent.periods_from);
        v_new.periods_until := least(p_periods_until, v_parent.periods_until);
        v_new.in_clear := p_in_clear;
        v_new.from_at := coalesce(p_from, greatest(now(), v_parent.from_at));
        v_new.until_at := coalesce(p_until, control.lasts_until(v_parent));
        v_new.workspace_of := CASE WHEN p_workspace THEN CASE WHEN v_parent.is_own THEN control.holder(v_parent.grantee) ELSE coalesce(v_parent.workspace_of, '-') END END;
        v_unknown := NULL;
        IF p_communes IS NOT NULL AND v_parent.communes IS NULL THEN
            -- Codes change their meaning: they are meant as on the first day, and show only periods in which they mean that.
            SELECT greatest(v_new.periods_from, max(m.valid_from)), least(v_new.periods_until, min(m.valid_to)), string_agg(x, ', ') FILTER (WHERE m.code IS NULL)
            INTO v_new.periods_from, v_new.periods_until, v_unknown
            FROM unnest(p_communes) x LEFT JOIN LATERAL control.commune_meaning(x, v_new.provinces, (v_new.from_at AT TIME ZONE control.site_zone())::date) m ON true;
        END IF;
        v_wide := concat_ws('; ', control.too_wide(v_new, v_parent), 'communes: ' || v_unknown);
        EXIT WHEN v_wide = '';
        IF v_closest IS NULL OR length(v_wide) < length(v_closest) THEN
            v_closest := v_wide;
        END IF;
        v_parent := NULL;
    END LOOP;
    IF v_parent.delegation_id IS NULL THEN
        RAISE EXCEPTION 'Rộng hơn mọi quyền mà % giữ: % · Wider than each delegation that % holds: %', v_grantors[1], v_closest, v_grantors[1], v_closest USING ERRCODE = 'ND002';
    END IF;
    -- What has passed keeps no name.
    UPDATE control.delegation SET revoked_at = now(), revoked_by = session_user, revoked_because = 'its last day has passed'
    WHERE name = p_name AND grantor = v_grantors[1] AND NOT is_declared AND revoked_at IS NULL AND until_at <= now();
    v_new.delegation_id := nextval(pg_get_serial_sequence('control.delegation', 'delegation_id'));
    INSERT INTO control.delegation (delegation_id, name, parent_id, grantor, grantee, datasets, provinces, communes, periods_from, periods_until, in_clear, workspace_of, from_at, until_at,
        may_redelegate, purpose, legal_basis, source) OVERRIDING SYSTEM VALUE
    VALUES (v_new.delegation_id, coalesce(p_name, v_grantors[1] || '-' || p_grantee || '-' || v_new.delegation_id), v_parent.delegation_id, v_grantors[1], p_grantee,
            v_new.datasets, v_new.provinces, v_new.communes, v_new.periods_from, v_new.periods_until, v_new.in_clear, v_new.workspace_of, v_new.from_at, v_new.until_at, p_may_redelegate, p_purpose, p_legal_basis, 'ndc delegate')
    RETURNING * INTO v_new;
    PERFORM control.refuse_contradictions();
    RETURN v_new.name;
END $$;

CREATE OR REPLACE FUNCTION control.revoke(p_name text, p_because text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
-- End a delegation that one's own province, organisation or self gave, or that descends from one, and all below it, with the transaction;
-- returns how many will end. Until then no row is touched, so that nobody can keep another's revocation waiting.
DECLARE
    v_found control.delegation;
BEGIN
    -- Each grantor names its own: one's own before what descends from it, both before what the centre declared.
    SELECT d.* INTO v_found FROM control.delegation d WHERE d.name = p_name AND d.revoked_at IS NULL
       AND EXISTS (SELECT FROM control.ancestors(d.delegation_id) a WHERE a.grantor = ANY (ARRAY(SELECT control.spoken_for(session_user))))
    ORDER BY d.is_declared, d.grantor = ANY (ARRAY(SELECT control.spoken_for(session_user))) DESC LIMIT 1;
    IF v_found.delegation_id IS NULL THEN
        RAISE EXCEPTION 'Không có phân quyền đang hiệu lực «%» mà bạn thu hồi được · There is no live delegation "%" that you may revoke', p_name, p_name USING ERRCODE = 'ND006';
    ELSIF v_found.is_declared THEN
        RAISE EXCEPTION '«%» được khai báo trong tệp %; trung tâm sửa tệp rồi apply · "%" is declared in %; the centre edits the file and applies it', p_name, v_found.source, p_name, v_found.source USING ERRCODE = 'ND001';
    ELSIF coalesce(p_because, '') !~ '[^[:space:]]' OR p_because ~ '[[:cntrl:]]' OR length(p_because) > 2000 THEN
        RAISE EXCEPTION 'reasons_in_words' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM control.ask_turn(v_found.delegation_id, p_because);
    RETURN (WITH RECURSIVE below AS (
        SELECT v_found.delegation_id AS id UNION SELECT d.delegation_id FROM below JOIN control.delegation d ON d.parent_id = below.id AND d.revoked_at IS NULL)
        SELECT count(*) FROM below);
END $$;

CREATE OR REPLACE FUNCTION control.my_delegations() RETURNS SETOF control.delegation
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET standard_conforming_strings = on SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET row_security = on AS $$
    -- What the caller holds, gave, or what descends from it.
    WITH RECURSIVE mine AS (
        SELECT d.* FROM control.delegation d WHERE d.grantee = ANY (ARRAY(SELECT control.spoken_for(session_user))) OR d.grantor = ANY (ARRAY(SELECT control.spoken_for(session_user)))
        UNION SELECT d.* FROM mine JOIN control.delegation d ON d.parent_id = mine.delegation_id)
    SELECT * FROM mine ORDER BY delegation_id
$$;
