-- What a load does to a leaf (see load.py), with the owner's rights: the loader owns no table and may not become who does.
-- In this order and in one transaction: control.new_leaf() makes it, the loader copies rows into it, control.index_leaf() closes
-- it, control.attach_leaf() puts it in the place of the old one. Until then it lies beside its table under its name and a `+`, and
-- nobody else sees it. Whoever may call these could delete and insert the same rows; they give no more than that.

CREATE OR REPLACE FUNCTION control.stage_of(p_table regclass, p_leaf text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_schema name;
BEGIN
    SELECT n.nspname INTO v_schema FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = p_table AND c.relkind = 'p' AND n.nspname IN ('national', 'personal') AND octet_length(p_leaf) < 63;
    IF v_schema IS NULL THEN
        RAISE EXCEPTION '% has no leaves, or the name % is too long', p_table, p_leaf USING ERRCODE = 'wrong_object_type';
    END IF;
    RETURN format('%I.%I', v_schema, p_leaf || '+');
END $$;

CREATE OR REPLACE FUNCTION control.new_leaf(p_table regclass, p_leaf text, p_province text, p_first date, p_after date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- An empty table into which the loader may copy. Its CHECK repeats the bounds of both levels above, which makes ATTACH a change of the
-- catalogue alone.
DECLARE
    v_stage text := control.stage_of(p_table, p_leaf);
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS, CONSTRAINT bounds CHECK (province_id IS NOT NULL AND province_id = %L '
        'AND period IS NOT NULL AND period >= %L::date AND period < %L::date))', v_stage, p_table, p_province, p_first, p_after);
    EXECUTE format('GRANT INSERT ON %s TO ndc_loader', v_stage);
    RETURN v_stage;
END $$;

CREATE OR REPLACE FUNCTION control.index_leaf(p_table regclass, p_leaf text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- No more rows: the indexes of its table, and row security, which a partition does not inherit.
DECLARE
    v_stage text := control.stage_of(p_table, p_leaf);
    v_index record;
BEGIN
    FOR v_index IN
        -- A name of our own: those that PostgreSQL makes are cut at 63 letters, and two months of a long province's name would share one.
        SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END AS kind, 'leaf_' || md5(concat_ws('/', p_leaf, i.indexrelid, pg_current_xact_id())) AS name,
               (SELECT string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k) FROM generate_series(1, i.indnkeyatts) k) AS columns
        FROM pg_index i WHERE i.indrelid = p_table
    LOOP
        EXECUTE format('CREATE %sINDEX %I ON %s (%s)', v_index.kind, v_index.name, v_stage, v_index.columns);
    END LOOP;
    EXECUTE format('REVOKE ALL ON %s FROM ndc_loader', v_stage);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', v_stage);
END $$;

CREATE OR REPLACE FUNCTION control.attach_leaf(p_table regclass, p_root text, p_leaf text, p_first date, p_after date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The old leaf goes, the new one takes its place below the province's partition. Waits for readers no longer than the caller's lock_timeout.
DECLARE
    v_stage text := control.stage_of(p_table, p_leaf);
    v_root regclass := to_regclass(format('parts.%I', p_root));
    v_old regclass := to_regclass(format('parts.%I', p_leaf));
BEGIN
    IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = v_root AND inhparent = p_table)
       OR v_old IS NOT NULL AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = v_old AND inhparent = v_root)
       OR NOT (SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = to_regclass(v_stage)) THEN
        RAISE EXCEPTION '% is no leaf of % in %', p_leaf, p_root, p_table USING ERRCODE = 'wrong_object_type';
    END IF;
    IF v_old IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', v_root, v_old);
        EXECUTE format('DROP TABLE %s', v_old);
    END IF;
    EXECUTE format('ALTER TABLE %s SET SCHEMA parts', v_stage);
    EXECUTE format('ALTER TABLE parts.%I RENAME TO %I', p_leaf || '+', p_leaf);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION parts.%I FOR VALUES FROM (%L) TO (%L)', v_root, p_leaf, p_first, p_after);
    EXECUTE format('ALTER TABLE parts.%I DROP CONSTRAINT bounds', p_leaf);
END $$;
