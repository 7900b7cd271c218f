-- Migration 4: the audit log, and the seals that chain and sign it (audit/audit.h).

CREATE TABLE audit (
    seq @ID@,
    at BIGINT NOT NULL,
    account_id BIGINT NOT NULL,         -- whose log: the namespace, organization or user concerned; 0 the site
    actor_id BIGINT NOT NULL,           -- 0: nobody known, or the system
    actor TEXT NOT NULL,                -- the name at that time
    credential_id BIGINT NOT NULL,      -- 0: none, or a password
    action @NAME@ NOT NULL,             -- repo.push, login.failed, ...
    object @NAME@ NOT NULL,
    address TEXT NOT NULL,
    client TEXT NOT NULL,
    result BIGINT NOT NULL,             -- 0 done, 1 refused, 2 failed
    count BIGINT NOT NULL,              -- more than 1: so many alike in a few seconds
    data TEXT NOT NULL                  -- JSON object, or empty
);
CREATE INDEX audit_by_time ON audit (at, seq);
CREATE INDEX audit_by_account ON audit (account_id, at, seq);
CREATE INDEX audit_by_actor ON audit (actor_id, at, seq);
CREATE INDEX audit_by_object ON audit (object, at, seq);

-- A row covers the rows first..last of audit and names the seal before it. At most the oldest is a
-- tombstone: first..last are gone by retention, hash is that of the seal it replaced.
CREATE TABLE audit_seal (
    id BIGINT PRIMARY KEY,              -- 1, 2, 3, ... without a gap
    kind BIGINT NOT NULL,               -- 0 seal, 1 tombstone
    at BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    count BIGINT NOT NULL,
    prev BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    key TEXT NOT NULL,
    sig BYTEA NOT NULL
);

-- What was last written from each ring file: a batch is written once, whenever the process dies.
CREATE TABLE audit_ring (
    ring BIGINT PRIMARY KEY,
    batch BIGINT NOT NULL
);
