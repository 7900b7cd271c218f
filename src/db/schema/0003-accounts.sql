-- Migration 3: accounts. A user and an organization are accounts of one name space; a namespace is
-- always an account's. Members, teams, grants, collaborators; random tokens and their bounds.

ALTER TABLE users RENAME TO accounts;                              -- role: 0 none, 1 administrator, 2 auditor
ALTER TABLE accounts ADD COLUMN kind BIGINT NOT NULL DEFAULT 0;    -- 0 user, 1 organization
                                                                   -- state: 0 active, 1 removed, 2 disabled
ALTER TABLE accounts ADD COLUMN full_name TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN email_verified_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN last_login_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN plan_id BIGINT;                    -- NULL: the hub's default plan
ALTER TABLE accounts ADD COLUMN default_visibility BIGINT NOT NULL DEFAULT 0; -- of repositories made by a push: 1 public
-- Of organizations.
ALTER TABLE accounts ADD COLUMN default_access BIGINT NOT NULL DEFAULT 0; -- of members on each repository: 0 none, 1 read, 2 write
ALTER TABLE accounts ADD COLUMN no_public BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN personal_tokens BIGINT NOT NULL DEFAULT 1; -- 0: members' tokens do not work here
ALTER TABLE accounts ADD COLUMN token_max_days BIGINT NOT NULL DEFAULT 0;  -- of own and members' tokens; 0 any
ALTER TABLE accounts ADD COLUMN need_mfa BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN no_personal_push BIGINT NOT NULL DEFAULT 0;
CREATE INDEX accounts_by_kind ON accounts (kind, name);

INSERT INTO accounts (name, pw_hash, role, state, epoch, created_at, kind)
    SELECT name, '', 0, 0, 1, created_at, 1 FROM namespaces WHERE owner_id IS NULL;
UPDATE accounts SET default_visibility = 1 WHERE name = 'library';
UPDATE namespaces SET owner_id = (SELECT a.id FROM accounts a WHERE a.name = namespaces.name)
    WHERE owner_id IS NULL;

ALTER TABLE repos ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE repos ADD COLUMN full_description TEXT NOT NULL DEFAULT '';
ALTER TABLE repos ADD COLUMN archived BIGINT NOT NULL DEFAULT 0;
ALTER TABLE repos ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;

CREATE TABLE members (
    org_id BIGINT NOT NULL REFERENCES accounts(id),
    user_id BIGINT NOT NULL REFERENCES accounts(id),
    role BIGINT NOT NULL,               -- 1 member, 2 editor, 3 owner
    source TEXT NOT NULL,               -- local, oidc, ldap, scim: who may take it away again
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id, org_id);

CREATE TABLE teams (
    id @ID@,
    org_id BIGINT NOT NULL REFERENCES accounts(id),
    name @NAME@ NOT NULL,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (org_id, name)
);

CREATE TABLE team_members (
    team_id BIGINT NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES accounts(id),
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX team_members_by_user ON team_members (user_id, team_id);

CREATE TABLE team_grants (
    repo_id BIGINT NOT NULL REFERENCES repos(id),
    team_id BIGINT NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    level BIGINT NOT NULL,              -- 1 read, 2 write, 3 admin
    PRIMARY KEY (repo_id, team_id)
);
CREATE INDEX team_grants_by_team ON team_grants (team_id, repo_id);

CREATE TABLE collaborators (
    repo_id BIGINT NOT NULL REFERENCES repos(id),
    user_id BIGINT NOT NULL REFERENCES accounts(id),
    level BIGINT NOT NULL,              -- 1 read, 2 write
    PRIMARY KEY (repo_id, user_id)
);
CREATE INDEX collaborators_by_user ON collaborators (user_id, repo_id);

-- Random tokens, kept as keyed hashes. What is derived from one names it and dies with it.
CREATE TABLE credentials (
    id @ID@,
    account_id BIGINT NOT NULL REFERENCES accounts(id), -- for whom it acts
    kind BIGINT NOT NULL,               -- 1 personal, 2 organization, 3 keyless, 4 refresh
    parent_id BIGINT REFERENCES credentials(id),
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    old_hash BYTEA UNIQUE,              -- after a rotation, until old_until
    old_until BIGINT NOT NULL,
    state BIGINT NOT NULL,              -- 0 active, 1 disabled, 2 revoked
    created_by BIGINT NOT NULL,         -- account
    created_at BIGINT NOT NULL,
    created_from TEXT NOT NULL,         -- address
    expires_at BIGINT NOT NULL,         -- 0 never
    used_at BIGINT NOT NULL,
    used_from TEXT NOT NULL
);
CREATE INDEX credentials_by_account ON credentials (account_id, kind, id);
CREATE INDEX credentials_by_parent ON credentials (parent_id);

CREATE TABLE credential_bounds (
    credential_id BIGINT NOT NULL REFERENCES credentials(id) ON DELETE CASCADE,
    pattern @NAME@ NOT NULL,            -- *, NS/*, NS/NAME, NS/PREFIX*
    scope BIGINT NOT NULL,              -- 1 public-read, 2 read, 3 write, 4 delete, 5 admin
    PRIMARY KEY (credential_id, pattern)
);
