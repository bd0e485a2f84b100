-- Times are microseconds since 1970-01-01 UTC. A `data` column holds the whole
-- record as JSON; the other columns are what is searched.

-- kind … rule are empty until the delivery is decided. rule lists the rules that
-- matched, separated by commas.
CREATE TABLE deliveries (
    id          TEXT PRIMARY KEY,
    connection  TEXT NOT NULL,
    host        TEXT NOT NULL,
    key         TEXT NOT NULL,
    host_id     TEXT NOT NULL,
    event       TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    header      TEXT NOT NULL,
    body        BLOB NOT NULL,
    codec       TEXT NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    decision    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    repository  TEXT NOT NULL,
    branch      TEXT NOT NULL,
    number      BIGINT NOT NULL,
    sha         TEXT NOT NULL,
    actor       TEXT NOT NULL,
    rule        TEXT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (connection, key)
);
CREATE INDEX deliveries_by_state ON deliveries (state, received_at, id);
CREATE INDEX deliveries_by_time ON deliveries (received_at, id);
CREATE INDEX deliveries_by_repository ON deliveries (repository, received_at, id) WHERE repository <> '';
CREATE INDEX deliveries_by_sha ON deliveries (sha) WHERE sha <> '';

-- One row for each change that the rules evaluated: the first delivery that announced
-- it owns it. When the same change is made again, the delivery that announces that
-- does.
CREATE TABLE event_keys (
    key         TEXT PRIMARY KEY,
    delivery_id TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX event_keys_by_time ON event_keys (created_at);

-- The newest known state of each branch, tag and merge request, and the delivery
-- that told it. `ended`: it was deleted, closed or merged.
CREATE TABLE heads (
    ref_key     TEXT PRIMARY KEY,
    delivery_id TEXT NOT NULL,
    sha         TEXT NOT NULL,
    before      TEXT NOT NULL,
    branch      TEXT NOT NULL,
    ended       BOOLEAN NOT NULL,
    changed_at  TEXT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX heads_by_time ON heads (updated_at);

-- waits_for is the id of the record that must change before this one can go on, or
-- empty. Whoever changes that record inserts the job of this one. rerun_as is the id of
-- the record that repeats this one because a person asked for it, or empty.
CREATE TABLE runs (
    id            TEXT PRIMARY KEY,
    delivery_id   TEXT NOT NULL,
    connection    TEXT NOT NULL,
    repository    TEXT NOT NULL,
    kind          TEXT NOT NULL,
    branch        TEXT NOT NULL,
    number        BIGINT NOT NULL,
    sha           TEXT NOT NULL,
    actor         TEXT NOT NULL,
    rule          TEXT NOT NULL,
    ref_key       TEXT NOT NULL,
    task_key      TEXT NOT NULL,
    state         TEXT NOT NULL,
    shares_run_id TEXT NOT NULL,
    waits_for     TEXT NOT NULL,
    rerun_as      TEXT NOT NULL,
    version       BIGINT NOT NULL,
    deadline      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    data          TEXT NOT NULL
);
-- One rule checks one commit on one task once, unless that ended without a verdict or a
-- person asked for it again.
CREATE UNIQUE INDEX runs_once ON runs (task_key, sha, rule)
    WHERE state NOT IN ('errored', 'superseded', 'stopped') AND rerun_as = '';
CREATE INDEX runs_by_state ON runs (state, created_at, id);
CREATE INDEX runs_by_ref_key ON runs (ref_key, state);
CREATE INDEX runs_by_time ON runs (created_at, id);
CREATE INDEX runs_by_repository ON runs (repository, created_at, id);
CREATE INDEX runs_by_sha ON runs (sha);
CREATE INDEX runs_by_delivery ON runs (delivery_id);
CREATE INDEX runs_waiting ON runs (waits_for) WHERE waits_for <> '';

-- unanswered: an action was committed or sent and its answer is not known.
CREATE TABLE releases (
    id         TEXT PRIMARY KEY,
    run_id     TEXT NOT NULL,
    place      INTEGER NOT NULL,
    pipeline   TEXT NOT NULL,
    connection TEXT NOT NULL,
    repository TEXT NOT NULL,
    kind       TEXT NOT NULL,
    branch     TEXT NOT NULL,
    number     BIGINT NOT NULL,
    sha        TEXT NOT NULL,
    actor      TEXT NOT NULL,
    rule       TEXT NOT NULL,
    state      TEXT NOT NULL,
    waits_for  TEXT NOT NULL,
    rerun_as   TEXT NOT NULL,
    version    BIGINT NOT NULL,
    unanswered BOOLEAN NOT NULL,
    deadline   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    data       TEXT NOT NULL
);
-- One verdict makes one release for each place, unless a person asked for it again.
CREATE UNIQUE INDEX releases_once ON releases (run_id, place) WHERE rerun_as = '';
CREATE INDEX releases_by_run ON releases (run_id);
-- At most one action on a pipeline is without its answer at any time: otherwise one
-- release could take another's execution for its own.
CREATE UNIQUE INDEX releases_unanswered ON releases (pipeline) WHERE unanswered;
CREATE INDEX releases_by_state ON releases (state, created_at, id);
CREATE INDEX releases_by_time ON releases (created_at, id);
CREATE INDEX releases_by_repository ON releases (repository, created_at, id);
CREATE INDEX releases_by_sha ON releases (sha);
CREATE INDEX releases_waiting ON releases (waits_for) WHERE waits_for <> '';

-- What a person did to a run or release, and what was learned of it after its end. A row
-- is never changed, and neither is the record that it is about.
CREATE TABLE actions (
    id          TEXT PRIMARY KEY,
    record_kind TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    action      TEXT NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    details     TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX actions_by_record ON actions (record_id, created_at, id);
CREATE INDEX actions_by_time ON actions (created_at);

-- What earlier runs learned: the task of a repository and branch (or merge
-- request), and the ref that worked for a connection.
CREATE TABLE tasks (
    key        TEXT PRIMARY KEY,
    data       TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
-- Which run is creating the task of a key, and until when no other run may.
CREATE TABLE task_claims (
    key    TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    until  BIGINT NOT NULL
);
CREATE TABLE refs (
    connection TEXT PRIMARY KEY,
    ref        TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
