-- Migration 5: plans, what accounts use of them, reservations, pull and push windows.
-- An account_id is a plain number here: the accounts' table belongs to a room above.

-- -1 in a limit: unlimited. Windows in seconds. See policy/policy.h.
CREATE TABLE plans (
    id @ID@,
    name @NAME@ NOT NULL UNIQUE,
    site_default BIGINT NOT NULL,       -- 1 in one row: the plan of accounts that name none, and of strangers
    private_repos BIGINT NOT NULL,
    collaborators BIGINT NOT NULL,
    seats BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    builds BIGINT NOT NULL,
    pulls BIGINT NOT NULL,
    anonymous_pulls BIGINT NOT NULL,
    pull_window BIGINT NOT NULL,
    pushes BIGINT NOT NULL,
    push_window BIGINT NOT NULL
);
INSERT INTO plans (name, site_default, private_repos, collaborators, seats, bytes, builds, pulls, anonymous_pulls, pull_window, pushes, push_window) VALUES
    ('unlimited', 1, -1, -1, -1, -1, -1, -1, -1, 21600, -1, 21600),
    ('free', 0, 1, 3, 3, -1, 0, 200, 100, 21600, 200, 21600),
    ('pro', 0, -1, -1, 3, -1, 5, 5000, 100, 86400, 5000, 86400),
    ('team', 0, -1, -1, 100, -1, 15, 5000, 100, 86400, 5000, 86400),
    ('business', 0, -1, -1, -1, -1, 15, -1, 100, 86400, -1, 86400);

-- How much an account uses; see policy/quota.h.
CREATE TABLE usage (
    account_id BIGINT NOT NULL,
    kind BIGINT NOT NULL,               -- enum quota_kind
    used BIGINT NOT NULL,
    reserved BIGINT NOT NULL,           -- the sum of its reservations (kind 1, bytes)
    warned BIGINT NOT NULL,             -- 1: it was told of 80 %
    PRIMARY KEY (account_id, kind)
);

-- Room for an upload that goes on.
CREATE TABLE reservations (
    upload TEXT PRIMARY KEY,            -- the upload session's id
    account_id BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX reservations_by_expiry ON reservations (expires_at);

-- What an account stores: a row for each distinct blob and manifest, however many of its
-- repositories link it.
CREATE TABLE account_blobs (
    account_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    size BIGINT NOT NULL,
    links BIGINT NOT NULL,              -- of the account's repositories; > 0
    PRIMARY KEY (account_id, digest)
);

-- Pull and push windows as the server last saved them: docs/adr/0010-windows-in-memory.md.
CREATE TABLE windows (
    part BIGINT PRIMARY KEY,            -- of the table in memory
    bytes BYTEA NOT NULL                -- see policy/window_save.c
);

-- What is there already. A namespace is an account's since migration 3.
INSERT INTO account_blobs (account_id, digest, size, links)
    SELECT n.owner_id, o.digest, max(o.size), count(*) FROM
        (SELECT l.repo_id, l.digest, b.size FROM repo_blobs l JOIN blobs b ON b.digest = l.digest
         UNION ALL SELECT repo_id, digest, size FROM manifests) o
    JOIN repos r ON r.id = o.repo_id JOIN namespaces n ON n.id = r.namespace_id
    GROUP BY n.owner_id, o.digest;
INSERT INTO usage (account_id, kind, used, reserved, warned)
    SELECT account_id, 1, CAST(sum(size) AS BIGINT), 0, 0 FROM account_blobs GROUP BY account_id;
INSERT INTO usage (account_id, kind, used, reserved, warned)
    SELECT n.owner_id, 2, count(*), 0, 0 FROM repos r JOIN namespaces n ON n.id = r.namespace_id
    WHERE r.public = 0 GROUP BY n.owner_id;
