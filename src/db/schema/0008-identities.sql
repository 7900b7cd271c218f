-- Migration 8: who comes from a directory or an identity provider, and which of its groups are which teams.
CREATE TABLE identities (
    provider @NAME@ NOT NULL,           -- 'ldap'; 'oidc:' and the provider's name
    subject @NAME@ NOT NULL,            -- of the provider, never an e-mail address or a name that is chosen
    account_id BIGINT NOT NULL REFERENCES accounts(id),
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (provider, subject)
);
CREATE INDEX identities_by_account ON identities (account_id);

CREATE TABLE team_groups (
    id @ID@,
    team_id BIGINT NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    provider @NAME@ NOT NULL,
    name @NAME@ NOT NULL,               -- of the group, to the letter
    created_at BIGINT NOT NULL,
    UNIQUE (team_id, provider, name)
);
CREATE INDEX team_groups_by_name ON team_groups (provider, name);
