-- Migration 6: sessions of browsers, second factors, one-time codes, and where logins came from.
-- Hashes are those of crypt/token_text.h and crypt/recovery.h: keyed, the key lies outside the database.

CREATE TABLE sessions (
    id @ID@,
    hash BYTEA NOT NULL UNIQUE,
    account_id BIGINT NOT NULL REFERENCES accounts(id),
    auth_at BIGINT NOT NULL,            -- when password or factor were last shown: step-up counts from here
    created_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,            -- to the minute
    expires_at BIGINT NOT NULL,         -- at the latest; unused ones end before
    address TEXT NOT NULL,
    client TEXT NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE factors (
    id @ID@,
    account_id BIGINT NOT NULL REFERENCES accounts(id),
    kind BIGINT NOT NULL,               -- 1 totp, 2 webauthn, 3 a recovery code
    state BIGINT NOT NULL,              -- 0 begun, not proved by a first code; 1 good
    name TEXT NOT NULL,
    lookup BYTEA NOT NULL UNIQUE,       -- webauthn: credential id; recovery: hash; totp: random
    data BYTEA NOT NULL,                -- totp: sealed secret; webauthn: public key (COSE)
    counter BIGINT NOT NULL,            -- totp: step of the last code taken; webauthn: signature counter
    flags BIGINT NOT NULL,              -- webauthn: 1 may be backed up, 2 is
    created_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL
);
CREATE INDEX factors_by_account ON factors (account_id, kind, id);

CREATE TABLE one_time (
    id @ID@,
    hash BYTEA NOT NULL UNIQUE,
    kind BIGINT NOT NULL,               -- enum once_kind (ident/ident_int.h)
    account_id BIGINT REFERENCES accounts(id), -- whom it concerns; an invitation: the organization, or NULL
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX one_time_by_account ON one_time (account_id, kind, id);
CREATE INDEX one_time_by_expiry ON one_time (expires_at);

-- Addresses from which somebody logged in to the account: what strangers fail at does not slow these down.
CREATE TABLE login_addresses (
    account_id BIGINT NOT NULL REFERENCES accounts(id),
    address @NAME@ NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, address)
);
