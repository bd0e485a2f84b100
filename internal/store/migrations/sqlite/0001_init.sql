-- The audit log grows at its end alone. A prefix that a row of retention names may go.
CREATE TRIGGER audit_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only: a row is never changed');
END;
CREATE TRIGGER audit_never_removed BEFORE DELETE ON audit
WHEN OLD.seq > (SELECT COALESCE(MAX(CAST(record_id AS INTEGER)), 0) FROM audit WHERE kind = 'retention') BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only: a row is never removed, but by audit.retention');
END;
