-- The audit log grows at its end alone. A prefix that a row of retention names may go.
CREATE FUNCTION audit_never_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.seq <= (SELECT COALESCE(MAX(CAST(record_id AS BIGINT)), 0) FROM audit WHERE kind = 'retention') THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'the audit log is append-only: a row is never removed, but by audit.retention';
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: a row is never changed';
END
$$;
CREATE TRIGGER audit_never_changed BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_never_changed();
CREATE TRIGGER audit_never_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_never_changed();
