-- Migration 1: users, namespaces, repositories, blobs, manifests, tags, uploads, review queues.
-- One text for both engines. @ID@ is the identity primary key, @NAME@ is TEXT compared bytewise.
-- Digests are keys of one byte algorithm (1 sha256, 2 sha512) and 32 or 64 bytes (base/digest.h).
-- Times are microseconds since 1970 UTC.

CREATE TABLE users (
    id @ID@,
    name @NAME@ NOT NULL UNIQUE,
    pw_hash TEXT NOT NULL,              -- Argon2id, encoded form
    role BIGINT NOT NULL,               -- 0 user, 1 administrator
    state BIGINT NOT NULL,              -- 0 active, 1 removed (the row stays: names are never reused)
    epoch BIGINT NOT NULL,              -- counts what ends tokens: password, role, removal
    created_at BIGINT NOT NULL
);

CREATE TABLE namespaces (
    id @ID@,
    name @NAME@ NOT NULL UNIQUE,        -- the first part of a repository name
    owner_id BIGINT REFERENCES users(id), -- NULL: only administrators push here
    created_at BIGINT NOT NULL
);

CREATE TABLE repos (
    id @ID@,
    namespace_id BIGINT NOT NULL REFERENCES namespaces(id),
    name @NAME@ NOT NULL UNIQUE,        -- canonical full name, library/x for a bare x
    public BIGINT NOT NULL,             -- 0 private, 1 public
    created_at BIGINT NOT NULL
);
CREATE INDEX repos_by_namespace ON repos (namespace_id, name);
CREATE INDEX repos_public ON repos (name) WHERE public = 1;

-- One row a blob in the store, however many repositories link it.
CREATE TABLE blobs (
    digest BYTEA PRIMARY KEY,
    size BIGINT NOT NULL,
    state BIGINT NOT NULL,              -- 0 good, 1 quarantined (file moved aside; a push repairs it)
    verified_at BIGINT NOT NULL,        -- when its bytes last matched the digest
    ino BIGINT NOT NULL,                -- inode and change time of the file that was verified
    ctime BIGINT NOT NULL,              -- nanoseconds
    created_at BIGINT NOT NULL
);
CREATE INDEX blobs_by_verified ON blobs (verified_at);

-- The link is the right: a repository serves only what it links.
CREATE TABLE repo_blobs (
    repo_id BIGINT NOT NULL REFERENCES repos(id),
    digest BYTEA NOT NULL REFERENCES blobs(digest),
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, digest)
);
CREATE INDEX repo_blobs_by_digest ON repo_blobs (digest, repo_id);

CREATE TABLE manifests (
    id @ID@,
    repo_id BIGINT NOT NULL REFERENCES repos(id),
    digest BYTEA NOT NULL,
    media_type TEXT NOT NULL,           -- as pushed (Content-Type), served back
    artifact_type TEXT NOT NULL,        -- as the referrers API reports it; '' none
    subject BYTEA,                      -- digest of the subject, present or not
    annotations TEXT NOT NULL,          -- JSON object for the referrers API, '' none
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    bytes BYTEA NOT NULL,               -- exactly as pushed; last, so that narrow reads skip it
    UNIQUE (repo_id, digest)
);
CREATE INDEX manifests_by_subject ON manifests (repo_id, subject, digest) WHERE subject IS NOT NULL;

-- Edges from a manifest: its config, layers and children. The target need not exist (sparse).
CREATE TABLE manifest_refs (
    repo_id BIGINT NOT NULL,
    target BYTEA NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests(id) ON DELETE CASCADE,
    kind BIGINT NOT NULL,               -- 1 config, 2 layer or blob, 3 child manifest
    PRIMARY KEY (repo_id, target, manifest_id)
);
CREATE INDEX manifest_refs_by_manifest ON manifest_refs (manifest_id);

CREATE TABLE tags (
    repo_id BIGINT NOT NULL REFERENCES repos(id),
    name @NAME@ NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests(id),
    digest BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, name)
);
CREATE INDEX tags_by_manifest ON tags (manifest_id);

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,                -- 128 random bits, hex
    repo_id BIGINT NOT NULL REFERENCES repos(id),
    user_id BIGINT NOT NULL REFERENCES users(id), -- only who opened it may go on
    alg BIGINT NOT NULL,                -- announced by digest-algorithm, else 1
    size BIGINT NOT NULL,               -- acknowledged, durable bytes
    hash_state BYTEA,                   -- exported state after `size` bytes; NULL: hash again
    created_at BIGINT NOT NULL,
    touched_at BIGINT NOT NULL
);
CREATE INDEX uploads_by_touched ON uploads (touched_at);
CREATE INDEX uploads_by_user ON uploads (user_id);

-- Review queue: what MAY be garbage, looked at no earlier than review_after. See registry/gc.h.
CREATE TABLE gc_queue (
    kind BIGINT NOT NULL,               -- 1 manifest, 2 repository's link to a blob, 3 blob
    repo_id BIGINT NOT NULL,            -- 0 for kind 3
    digest BYTEA NOT NULL,
    review_after BIGINT NOT NULL,
    reviews BIGINT NOT NULL,            -- failed or postponed reviews so far
    event TEXT NOT NULL,                -- what put it here: upload, mount, manifest_delete, ...
    PRIMARY KEY (kind, repo_id, digest)
);
CREATE INDEX gc_queue_due ON gc_queue (review_after);

-- Files whose row is gone and whose unlink is due later.
CREATE TABLE trash (
    digest BYTEA PRIMARY KEY,
    size BIGINT NOT NULL,
    unlink_after BIGINT NOT NULL
);

-- Append-only log of what changed; each reader keeps its own cursor.
CREATE TABLE events (
    seq @ID@,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,                 -- manifest.pushed, tag.deleted, ...
    actor_id BIGINT NOT NULL,           -- 0: the system
    repo_id BIGINT NOT NULL,            -- 0: none
    data TEXT NOT NULL                  -- JSON object
);
