-- Migration 7: trust rules of keyless CI. What a rule gives is a row of credentials of kind 3.
CREATE TABLE trust_rules (
    id @ID@,
    org_id BIGINT NOT NULL REFERENCES accounts(id),
    name @NAME@ NOT NULL,
    issuer @NAME@ NOT NULL,             -- iss, to the letter
    audience @NAME@ NOT NULL,           -- one of aud, to the letter
    claims TEXT NOT NULL,               -- [{"claim":NAME,"pattern":PATTERN}]: all must fit (ident/keyless.c)
    bounds TEXT NOT NULL,               -- [{"pattern":PATTERN,"scope":WORD}]
    life BIGINT NOT NULL,               -- of what it gives, microseconds
    jwks TEXT NOT NULL,                 -- the issuer's keys; '': asked of the issuer
    created_by BIGINT NOT NULL,         -- account
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (org_id, name)
);
CREATE INDEX trust_rules_by_issuer ON trust_rules (issuer, audience, org_id);
CREATE INDEX credentials_by_expiry ON credentials (kind, expires_at);
