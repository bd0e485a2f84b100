-- Times are microseconds since 1970-01-01 UTC. A `data` column holds the whole
-- record as JSON; the other columns are what is searched.

-- kind … rule are empty until the delivery is decided. rule lists the rules that
-- matched, separated by commas. scope is the list of patterns of the repositories that
-- the secret which verified it may speak of, or empty. replayed: a person had it decided
-- again.
CREATE TABLE deliveries (
    id          TEXT PRIMARY KEY,
    connection  TEXT NOT NULL,
    host        TEXT NOT NULL,
    key         TEXT NOT NULL,
    host_id     TEXT NOT NULL,
    event       TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    scope       TEXT NOT NULL,
    codec       TEXT NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    repository  TEXT NOT NULL,
    branch      TEXT NOT NULL,
    number      BIGINT NOT NULL,
    sha         TEXT NOT NULL,
    actor       TEXT NOT NULL,
    rule        TEXT NOT NULL,
    replayed    BOOLEAN NOT NULL,
    updated_at  BIGINT NOT NULL,
    -- Of the body, before it was compressed.
    size        BIGINT NOT NULL,
    -- How often its decision was begun and did not end, because the process did.
    attempts    BIGINT NOT NULL DEFAULT 0,
    -- What was found out for its decision, most of it by its git host, as JSON, until it is decided;
    -- 'asked' while the host has not answered, empty where nothing more was needed.
    gathered    TEXT NOT NULL DEFAULT '',
    -- How we heard of it, if not by its webhook: compared, redelivered.
    recovered   TEXT NOT NULL DEFAULT '',
    -- What is long comes last: SQLite reads a row up to the column that it wants.
    header      TEXT NOT NULL,
    decision    TEXT NOT NULL,
    body        BLOB NOT NULL,
    UNIQUE (connection, key)
);
CREATE INDEX deliveries_by_state ON deliveries (state, received_at, id);
CREATE INDEX deliveries_by_change ON deliveries (updated_at);
CREATE INDEX deliveries_by_time ON deliveries (received_at, id);
CREATE INDEX deliveries_by_repository ON deliveries (repository, received_at, id) WHERE repository <> '';
CREATE INDEX deliveries_by_sha ON deliveries (sha) WHERE sha <> '';
CREATE INDEX deliveries_by_host_id ON deliveries (host_id) WHERE host_id <> '';

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
-- that told it. `ended`: it was deleted, closed or merged. `uncertain`: a later push
-- went back to an earlier commit, and may be an old one that somebody sent again.
-- `from_host`: it was read from the host, and the webhooks that did not tell it may come late.
-- used_at is when a delivery spoke of it last, to the day. repository_key is the
-- connection and the host's id of the repository; repository is its name at that time.
CREATE TABLE heads (
    ref_key        TEXT PRIMARY KEY,
    repository_key TEXT NOT NULL,
    repository     TEXT NOT NULL,
    delivery_id    TEXT NOT NULL,
    sha            TEXT NOT NULL,
    before         TEXT NOT NULL,
    branch         TEXT NOT NULL,
    ended          BOOLEAN NOT NULL,
    uncertain      BOOLEAN NOT NULL,
    from_host      BOOLEAN NOT NULL DEFAULT FALSE,
    changed_at     TEXT NOT NULL,
    used_at        BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);
CREATE INDEX heads_by_time ON heads (used_at);

-- The earlier heads of branches and tags, and until when each was known to be one. key is
-- the ref key and the commit.
CREATE TABLE former_heads (
    key    TEXT PRIMARY KEY,
    was_at BIGINT NOT NULL
);
CREATE INDEX former_heads_by_time ON former_heads (was_at);

-- waits_for is the id of the record that must change before this one can go on, or
-- empty. Whoever changes that record inserts the job of this one. rerun_as is the id of
-- the record that repeats this one because a person asked for it, or empty.
-- occupied_task is the id of the CodeArts task of which the run has an execution or is
-- about to ask for one, or empty. baseline: later runs can be compared with the findings
-- of this one. account is the account of Huawei Cloud, empty where the rule names none.
-- place says where the run is in the line for the max_runs of its account: 'waits' for a
-- place, 'granted' one and about to occupy a task, or empty; placed_at is when it got one
-- last, or 0.
-- priority is higher for what goes first. starts_at is before when it waits for a newer
-- commit, or 0. scan_took is how long the scan of its task took, in microseconds, where that
-- gave a verdict, or 0.
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
    occupied_task TEXT NOT NULL,
    baseline      BOOLEAN NOT NULL,
    waits_for     TEXT NOT NULL,
    account       TEXT NOT NULL,
    priority      BIGINT NOT NULL,
    place         TEXT NOT NULL,
    placed_at     BIGINT NOT NULL,
    starts_at     BIGINT NOT NULL,
    scan_took     BIGINT NOT NULL,
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
-- At most one run has an execution of a task at any time, whatever its connection:
-- otherwise one could stop the other's, or take its result for its own.
CREATE UNIQUE INDEX runs_occupied_task ON runs (occupied_task) WHERE occupied_task <> '';
CREATE INDEX runs_by_state ON runs (state, created_at, id);
CREATE INDEX runs_by_ref_key ON runs (ref_key, state, created_at);
CREATE INDEX runs_by_change ON runs (updated_at);
CREATE INDEX runs_by_time ON runs (created_at, id);
CREATE INDEX runs_by_repository ON runs (repository, created_at, id);
CREATE INDEX runs_by_sha ON runs (sha);
CREATE INDEX runs_by_delivery ON runs (delivery_id);
CREATE INDEX runs_waiting ON runs (waits_for) WHERE waits_for <> '';
CREATE INDEX runs_by_place ON runs (place, account, created_at, id) WHERE place <> '';
CREATE INDEX runs_by_turn ON runs (connection, repository, placed_at) WHERE placed_at > 0;
CREATE INDEX runs_by_task ON runs (task_key, created_at) WHERE scan_took > 0;
CREATE INDEX runs_as_baseline ON runs (task_key, created_at) WHERE baseline;

-- What the runs found: all findings of a run that are kept, as compressed JSON. A run
-- without any has no row.
CREATE TABLE findings (
    run_id   TEXT PRIMARY KEY,
    body     BLOB NOT NULL,
    saved_at BIGINT NOT NULL
);
CREATE INDEX findings_by_time ON findings (saved_at);

-- unanswered: an action was committed or sent and its answer is not known. held_ref is the ref key
-- of a release that is held, and empty of any other.
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
    held_ref   TEXT NOT NULL DEFAULT '',
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
CREATE INDEX releases_by_pipeline ON releases (pipeline, updated_at);
CREATE INDEX releases_by_change ON releases (updated_at);
CREATE INDEX releases_by_time ON releases (created_at, id);
CREATE INDEX releases_by_repository ON releases (repository, created_at, id);
CREATE INDEX releases_by_sha ON releases (sha);
CREATE INDEX releases_waiting ON releases (waits_for) WHERE waits_for <> '';
CREATE INDEX releases_held ON releases (held_ref) WHERE held_ref <> '';

-- What a person did to a run, release or delivery, and what was learned of it after its end. A row
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
CREATE INDEX actions_by_time ON actions (created_at, id);

-- Who vouches for a commit of a merge request from a fork: actor, which is empty while the delivery
-- with delivery_id waits for somebody who does. key is the ref key and the commit.
CREATE TABLE trust (
    key           TEXT PRIMARY KEY,
    connection    TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    number        BIGINT NOT NULL,
    sha           TEXT NOT NULL,
    delivery_id   TEXT NOT NULL,
    actor         TEXT NOT NULL,
    reason        TEXT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX trust_by_time ON trust (updated_at);
CREATE INDEX trust_waiting ON trust (sha) WHERE actor = '';
CREATE INDEX trust_by_delivery ON trust (delivery_id);

-- What was released, for good: each action on a pipeline for a commit, and the release
-- that was the first to take it. key stands for ref key, commit, pipeline, action, task
-- and selection.
CREATE TABLE released (
    key           TEXT PRIMARY KEY,
    connection    TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    ref_key       TEXT NOT NULL,
    sha           TEXT NOT NULL,
    pipeline      TEXT NOT NULL,
    action        TEXT NOT NULL,
    task          TEXT NOT NULL,
    selection     TEXT NOT NULL,
    release_id    TEXT NOT NULL,
    released_at   BIGINT NOT NULL
);
CREATE INDEX released_by_release ON released (release_id);

-- What earlier runs learned of a repository: its tasks, each of a branch or merge
-- request, and the ref that worked. repository_key is the connection and the host's id of
-- the repository; repository is its name when the row was written. ref_key is that of the
-- merge request whose task we created, or empty.
CREATE TABLE tasks (
    key            TEXT PRIMARY KEY,
    repository_key TEXT NOT NULL,
    repository     TEXT NOT NULL,
    ref_key        TEXT NOT NULL,
    task_id        TEXT NOT NULL,
    data           TEXT NOT NULL,
    updated_at     BIGINT NOT NULL
);
CREATE INDEX tasks_by_id ON tasks (task_id);
CREATE INDEX tasks_by_ref_key ON tasks (ref_key) WHERE ref_key <> '';
-- Which run is creating the task of a key, and until when no other run may.
CREATE TABLE task_claims (
    key    TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    until  BIGINT NOT NULL
);
CREATE TABLE refs (
    repository_key TEXT PRIMARY KEY,
    ref            TEXT NOT NULL,
    updated_at     BIGINT NOT NULL
);

-- What the git hosts are told: a row for each status of a commit, of its checks or of its
-- releases by a pipeline, and for the comment on a merge request. What is written is made from the records when it is written;
-- version counts the changes that may make it another, and done is the version that was
-- dealt with last. One process writes at a time, claimed_by until claimed_until. due_at is before
-- when it is tried again, wanted_at since when something is to be written, or 0. written is what
-- the host was told last, handle the host's id of it.
CREATE TABLE reports (
    key           TEXT PRIMARY KEY,
    connection    TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    sha           TEXT NOT NULL,
    pipeline      TEXT NOT NULL,
    number        BIGINT NOT NULL,
    data          TEXT NOT NULL,
    version       BIGINT NOT NULL,
    done          BIGINT NOT NULL,
    claimed_by    TEXT NOT NULL,
    claimed_until BIGINT NOT NULL,
    wanted_at     BIGINT NOT NULL,
    due_at        BIGINT NOT NULL,
    state         TEXT NOT NULL,
    written       TEXT NOT NULL,
    handle        TEXT NOT NULL,
    writes        BIGINT NOT NULL,
    problem       TEXT NOT NULL,
    given_up      BOOLEAN NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX reports_to_write ON reports (connection, due_at) WHERE version > done;
CREATE INDEX reports_by_sha ON reports (sha);
CREATE INDEX reports_by_time ON reports (updated_at);

-- The repositories that their hosts are asked about, to find what no webhook told. key is the
-- repository key, or for one that a rule names and whose id is not known yet the connection,
-- "name" and the name. since is when its refs were read first, asked_at when it was asked about
-- last, both 0 before. problem is why that failed last.
CREATE TABLE host_repositories (
    key           TEXT PRIMARY KEY,
    connection    TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    repository    TEXT NOT NULL,
    since         BIGINT NOT NULL,
    asked_at      BIGINT NOT NULL,
    problem       TEXT NOT NULL
);
-- Their branches and open merge requests, as the host had them. sha is the commit up to which
-- nothing more is to be recovered, since settled_at. found_sha is another one that the host has had
-- since found_at, empty for a ref that is gone; found_at is 0 for none. first: it was there when the
-- repository was read first. covered: a rule asks for a check of it. since is when sha was the ref's
-- first, to our knowledge. answered: there was a verdict on sha, or a decision that there is
-- nothing to check.
CREATE TABLE host_refs (
    ref_key        TEXT PRIMARY KEY,
    repository_key TEXT NOT NULL,
    connection     TEXT NOT NULL,
    repository     TEXT NOT NULL,
    kind           TEXT NOT NULL,
    branch         TEXT NOT NULL,
    number         BIGINT NOT NULL,
    sha            TEXT NOT NULL,
    settled_at     BIGINT NOT NULL,
    found_sha      TEXT NOT NULL,
    found_at       BIGINT NOT NULL,
    first          BOOLEAN NOT NULL,
    covered        BOOLEAN NOT NULL,
    since          BIGINT NOT NULL,
    answered       BOOLEAN NOT NULL
);
CREATE INDEX host_refs_by_repository ON host_refs (repository_key);
CREATE INDEX host_refs_found ON host_refs (repository_key, found_at) WHERE found_at > 0;
CREATE INDEX host_refs_unanswered ON host_refs (since) WHERE covered AND NOT answered;
-- The deliveries that a host was asked to send, and when: those that it sends again by its id of
-- them, and test deliveries.
CREATE TABLE expected_deliveries (
    connection TEXT NOT NULL,
    host_id    TEXT NOT NULL,
    asked_at   BIGINT NOT NULL,
    -- How often.
    asks       INTEGER NOT NULL,
    PRIMARY KEY (connection, host_id)
);
CREATE INDEX expected_deliveries_by_time ON expected_deliveries (asked_at);
-- The commands that people gave in comments on merge requests. key is the connection, the host's id of
-- the repository and the number of the comment: each comment gives one. state is received, decided while
-- the host is to be told what came of it, or ended. denied_on is the day, counted from 1970, on which
-- its author was told that they may not give it, or 0: once a day is enough.
CREATE TABLE commands (
    key         TEXT PRIMARY KEY,
    connection  TEXT NOT NULL,
    author_id   TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    state       TEXT NOT NULL,
    confirmed   BOOLEAN NOT NULL,
    denied_on   BIGINT NOT NULL,
    data        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX commands_denied ON commands (connection, author_id, denied_on) WHERE denied_on > 0;
CREATE INDEX commands_by_author ON commands (connection, author_id, created_at);
CREATE INDEX commands_by_delivery ON commands (delivery_id);
CREATE INDEX commands_by_time ON commands (created_at);
CREATE INDEX commands_open ON commands (updated_at) WHERE state <> 'ended';

-- What no replica sends until a time: key is "credentials" and a hash of their id, or a
-- service and its endpoint. refusals counts how often credentials were refused since they
-- last worked.
CREATE TABLE pauses (
    key      TEXT PRIMARY KEY,
    reason   TEXT NOT NULL,
    refusals BIGINT NOT NULL,
    since    BIGINT NOT NULL,
    until    BIGINT NOT NULL
);
-- The processes that call remote services, and when each last said so. Only on PostgreSQL.
CREATE TABLE replicas (
    id      TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL
);

-- When each webhook secret of a connection last proved a delivery: secret is a short hash of it, since when a server
-- first knew it, last_used is 0 for never.
CREATE TABLE webhook_secrets (
    connection TEXT NOT NULL,
    secret     TEXT NOT NULL,
    since      BIGINT NOT NULL,
    last_used  BIGINT NOT NULL,
    PRIMARY KEY (connection, secret)
);

-- Part: who is allowed in. A login of a person, until it ends. hash is of the secret that the browser
-- has. claims is the list of the groups that the OpenID provider named, as JSON.
CREATE TABLE sessions (
    hash       TEXT PRIMARY KEY,
    identity   TEXT NOT NULL,
    name       TEXT NOT NULL,
    claims     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL
);
CREATE INDEX sessions_by_use ON sessions (used_at);
CREATE INDEX sessions_by_time ON sessions (created_at);
-- Tokens of machines. hash is of the whole token, which begins with the id. Of a name there is one
-- that is not revoked; revoked_at and last_used are 0 before.
CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    revoked_by TEXT NOT NULL,
    last_used  BIGINT NOT NULL
);
CREATE UNIQUE INDEX tokens_once ON tokens (name) WHERE revoked_at = 0;
-- Proof: the audit log, evidence and notices.

-- The audit log: a chain of rows by prev and hash (docs/audit.md). Triggers refuse that a row is changed or
-- removed; see the folders sqlite and postgres.
CREATE TABLE audit (
    seq         BIGINT PRIMARY KEY,
    at          BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    record_kind TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    reason      TEXT NOT NULL,
    details     TEXT NOT NULL,
    prev        TEXT NOT NULL,
    hash        TEXT NOT NULL
);
CREATE INDEX audit_by_record ON audit (record_id, seq) WHERE record_id <> '';
CREATE INDEX audit_by_kind ON audit (kind, seq);

-- The evidence of each release that has ended: a row when it ends, and the bundle (compressed) when that is made;
-- made_at is 0 before.
CREATE TABLE evidence (
    release_id TEXT PRIMARY KEY,
    wanted_at  BIGINT NOT NULL,
    made_at    BIGINT NOT NULL,
    root       TEXT NOT NULL,
    body       BLOB NOT NULL
);
CREATE INDEX evidence_to_make ON evidence (wanted_at) WHERE made_at = 0;
CREATE INDEX evidence_by_time ON evidence (wanted_at);

-- The notices to targets of the server file: one for each target, event and record, so that none is told twice.
-- state is waiting, sent or given_up. message is the id of the message that carries it, with others in a
-- summary, empty before the first try. One process sends at a time, until claimed_until.
CREATE TABLE notices (
    key           TEXT PRIMARY KEY,
    target        TEXT NOT NULL,
    event         TEXT NOT NULL,
    record_id     TEXT NOT NULL,
    data          TEXT NOT NULL,
    state         TEXT NOT NULL,
    message       TEXT NOT NULL,
    attempts      BIGINT NOT NULL,
    problem       TEXT NOT NULL,
    due_at        BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX notices_waiting ON notices (target, created_at) WHERE state = 'waiting';
CREATE INDEX notices_by_message ON notices (message) WHERE message <> '';
CREATE INDEX notices_by_time ON notices (updated_at);
-- How many messages a target got since a time, for its limit of messages in a minute.
CREATE TABLE notice_windows (
    target TEXT PRIMARY KEY,
    since  BIGINT NOT NULL,
    sent   BIGINT NOT NULL
);
-- Approvals and refusals of held releases by people. state is approved, refused, or voided for an
-- approval that does not count any more; a row is changed in that way only. The columns from connection
-- to rule are those of the release.
CREATE TABLE approvals (
    id         TEXT PRIMARY KEY,
    release_id TEXT NOT NULL,
    person     TEXT NOT NULL,
    state      TEXT NOT NULL,
    connection TEXT NOT NULL,
    repository TEXT NOT NULL,
    branch     TEXT NOT NULL,
    number     BIGINT NOT NULL,
    sha        TEXT NOT NULL,
    rule       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    data       TEXT NOT NULL
);
-- A person counts once, whatever accounts they have.
CREATE UNIQUE INDEX approvals_once ON approvals (release_id, person) WHERE state = 'approved';
CREATE INDEX approvals_by_release ON approvals (release_id, created_at, id);
CREATE INDEX approvals_by_time ON approvals (created_at, id);
CREATE INDEX approvals_by_sha ON approvals (sha);
CREATE INDEX approvals_by_repository ON approvals (repository, created_at, id);
-- The values of the groups claim that the newest login of a subject had, as a JSON list.
CREATE TABLE login_claims (
    subject    TEXT PRIMARY KEY,
    claims     TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
