/* The one list of configuration keys. X(ID, "name", TYPE, default, min, max, "allowed or unit", reload, "help") */
#ifndef BASE_CONFIG_KEYS_H
#define BASE_CONFIG_KEYS_H
#define CONFIG_KEYS(X)                                                                              \
    X(DATA, "data", TEXT, "data", 0, 0, "directory", 0, "Data directory: database, blobs, keys")     \
    X(LISTEN, "listen", TEXT, "127.0.0.1:5000", 0, 0, "ADDR:PORT[,ADDR:PORT...]", 0, "Addresses to listen on") \
    X(PUBLIC_URL, "public_url", TEXT, "", 0, 0, "http(s)://host[:port]", 0, "URL clients use; default from listen. Never taken from a Host header") \
    X(DATABASE, "database", SECRET, "", 0, 0, "postgresql://... or empty", 0, "PostgreSQL connection; empty means SQLite in the data directory") \
    X(ADMIN_USER, "admin_user", TEXT, "admin", 0, 0, "user name", 0, "First administrator, made on the first start") \
    X(ADMIN_PASSWORD, "admin_password", SECRET, "", 0, 0, "text", 0, "Password of the first administrator; empty: a random one is made") \
    X(TLS_CERT, "tls_cert", TEXT, "", 0, 0, "PEM file", 1, "Certificate chain; with tls_key serves HTTPS") \
    X(TLS_KEY, "tls_key", TEXT, "", 0, 0, "PEM file", 1, "Private key of tls_cert")                  \
    X(TLS_SELF_SIGNED, "tls_self_signed", BOOL, "false", 0, 0, "true or false", 0, "Make and use a self-signed certificate in the data directory") \
    X(LOG_LEVEL, "log_level", ENUM, "info", 0, 0, "debug|info|warn|error", 1, "Least level logged")  \
    X(LOG_FORMAT, "log_format", ENUM, "auto", 0, 0, "auto|json|human", 0, "Log format; auto: human on a terminal, else JSON") \
    X(ACCESS_LOG, "access_log", BOOL, "true", 0, 0, "true or false", 1, "One log line for each request") \
    X(READ_ONLY, "read_only", BOOL, "false", 0, 0, "true or false", 1, "Refuse every change with 503; pulls go on") \
    X(TRUSTED_PROXIES, "trusted_proxies", TEXT, "", 0, 0, "CIDR[,CIDR...]", 1, "Proxies whose X-Forwarded-For is believed") \
    X(LOOPS, "loops", INT, "0", 0, 256, "count", 0, "Event threads; 0: one for each core")            \
    X(WORKERS, "workers", INT, "0", 0, 1024, "count", 0, "Worker threads; 0: 16 + 4 for each core")  \
    X(MAX_HEADER, "max_header", SIZE, "16K", 4096, 262144, "bytes", 1, "Largest request head, of at most 128 lines; above it 431") \
    X(MAX_CONNECTIONS, "max_connections", INT, "0", 0, 1000000, "count", 0, "Open connections; 0: what the descriptor limit allows") \
    X(MAX_CONNECTIONS_PER_ADDRESS, "max_connections_per_address", INT, "4096", 0, 1000000, "count, 0 off", 1, "Open connections from one address (IPv6: /64); listed proxies are not limited") \
    X(MAX_REQUESTS_PER_ADDRESS, "max_requests_per_address", INT, "0", 0, 1000000, "requests a second, 0 off", 1, "Request rate of one address, burst 5 s; above it 429") \
    X(PULL_EXEMPT, "pull_exempt", TEXT, "", 0, 0, "CIDR[,CIDR...]", 1, "Networks whose pulls no plan limits or counts") \
    X(MAX_LOGINS_PER_ADDRESS, "max_logins_per_address", INT, "60", 0, 1000000, "failures a minute, 0 off", 1, "Failed logins of one address; above it 429. As many in ten minutes to one account, from all addresses that never logged in to it") \
    X(HEADER_TIMEOUT, "header_timeout", TIME, "10s", 100000, 3600000000, "time", 1, "A TLS handshake or a head must be complete by then") \
    X(IDLE_TIMEOUT, "idle_timeout", TIME, "75s", 100000, 86400000000, "time", 1, "An idle connection is closed after it") \
    X(BODY_GRACE, "body_grace", TIME, "30s", 100000, 3600000000, "time", 1, "A body may be slow for so long") \
    X(BODY_MIN_RATE, "body_min_rate", SIZE, "1K", 0, 1073741824, "bytes a second, 0 off", 1, "Slowest body after the grace, both ways") \
    X(MAX_UPLOAD, "max_upload", SIZE, "0", 0, 1152921504606846976, "bytes, 0 off", 1, "Largest blob") \
    X(MAX_MANIFEST, "max_manifest", SIZE, "4M", 4194304, 67108864, "bytes", 1, "Largest manifest; above it 413") \
    X(MAX_BUFFERED, "max_buffered", SIZE, "256M", 67108864, 1099511627776, "bytes", 1, "Manifests and other whole bodies held in memory at once; above it 503") \
    X(UPLOAD_EXPIRY, "upload_expiry", TIME, "24h", 1000000, 2592000000000, "time", 1, "An upload session not touched for so long is removed") \
    X(MAX_UPLOADS_PER_USER, "max_uploads_per_user", INT, "1000", 1, 1000000, "count", 1, "Open upload sessions of one user") \
    X(MIN_FREE, "min_free", SIZE, "256M", 0, 1152921504606846976, "bytes, 0 off", 1, "Low-water mark of free space: uploads get 507 below it") \
    X(GC, "gc", BOOL, "true", 0, 0, "true or false", 1, "Collect garbage in the background")          \
    X(GC_DELAY, "gc_delay", TIME, "24h", 0, 31536000000000, "time", 1, "An unreferenced blob is reviewed so long after its upload, mount or last reference") \
    X(GC_GRACE, "gc_grace", TIME, "24h", 0, 31536000000000, "time", 1, "What was pushed or seen by HEAD is kept so long, the longest push; trash is kept as long, at most 1h") \
    X(GC_INTERVAL, "gc_interval", TIME, "5s", 10000, 86400000000, "time", 1, "Pause between review passes") \
    X(UNTAGGED_EXPIRY, "untagged_expiry", TIME, "0", 0, 315360000000000, "time, 0 off", 1, "Manifests without tag, parent or living subject are deleted after it") \
    X(SCRUB_PERIOD, "scrub_period", TIME, "30d", 1000000, 315360000000000, "time", 1, "Each blob is re-hashed at least so often") \
    X(SCRUB_RATE, "scrub_rate", SIZE, "20M", 0, 10737418240, "bytes a second, 0 off", 1, "Speed of the scrub") \
    X(CACHE_SIZE, "cache_size", SIZE, "128M", 1048576, 1099511627776, "bytes", 0, "Memory for manifests and facts of the pull path, all event threads together") \
    X(TOKEN_LIFE, "token_life", TIME, "5m", 60000000, 3600000000, "time", 1, "Life of a registry token") \
    X(LOGIN_CONCURRENCY, "login_concurrency", INT, "2", 1, 64, "count", 0, "Password hashes computed at once (19 MiB each); 64 more may wait, above it 429") \
    X(OIDC_ISSUER, "oidc_issuer", TEXT, "", 0, 0, "https://...", 0, "Identity provider (OpenID Connect) for sign-on at /login/oidc; to the letter as it calls itself") \
    X(OIDC_CLIENT_ID, "oidc_client_id", TEXT, "", 0, 0, "text", 0, "This hub's name at the provider; its redirect URI is public_url/login/oidc/callback") \
    X(OIDC_CLIENT_SECRET, "oidc_client_secret", SECRET, "", 0, 0, "text", 0, "This hub's secret at the provider; empty: a public client") \
    X(OIDC_SCOPES, "oidc_scopes", TEXT, "openid profile email", 0, 0, "words", 0, "What the provider is asked for") \
    X(OIDC_GROUPS_CLAIM, "oidc_groups_claim", TEXT, "groups", 0, 0, "claim", 0, "Claim of the ID token that lists groups, for teams") \
    X(LDAP_URL, "ldap_url", TEXT, "", 0, 0, "ldaps://host[:port][,...]", 0, "Directory that logs people in who have no password here; ldap:// means STARTTLS. The next one when one fails") \
    X(LDAP_BASE, "ldap_base", TEXT, "", 0, 0, "DN", 0, "Where the directory's users are")               \
    X(LDAP_BIND_DN, "ldap_bind_dn", TEXT, "", 0, 0, "DN", 0, "The service that looks for users; empty: anonymous") \
    X(LDAP_BIND_PASSWORD, "ldap_bind_password", SECRET, "", 0, 0, "text", 0, "Password of ldap_bind_dn")    \
    X(LDAP_FILTER, "ldap_filter", TEXT, "(&(objectClass=person)(uid={user}))", 0, 0, "filter with {user}", 0, "Finds the one entry of a user") \
    X(LDAP_UID, "ldap_uid", TEXT, "uid", 0, 0, "attribute", 0, "Names a user for good: one value, never given to somebody else") \
    X(LDAP_GROUPS, "ldap_groups", ENUM, "none", 0, 0, "none|memberof|search", 0, "Where a user's groups are: nowhere, the attribute memberOf, entries below ldap_group_base") \
    X(LDAP_GROUP_BASE, "ldap_group_base", TEXT, "", 0, 0, "DN", 0, "Where the directory's groups are")  \
    X(LDAP_GROUP_FILTER, "ldap_group_filter", TEXT, "(&(objectClass=groupOfNames)(member={dn}))", 0, 0, "filter with {dn}", 0, "Finds the groups of an entry") \
    X(EGRESS_ALLOW, "egress_allow", TEXT, "", 0, 0, "HOST or CIDR[,...]", 0, "Private hosts and networks that webhooks and other ends set by users may reach; operators' ends may be private without") \
    X(EGRESS_CA, "egress_ca", TEXT, "", 0, 0, "PEM file", 0, "Authorities trusted by outbound TLS beside the system's; for LDAP in their place") \
    X(AUDIT_SYSLOG, "audit_syslog", TEXT, "", 0, 0, "syslogs://HOST[:PORT] or syslog://HOST[:PORT]", 1, "Syslog server that the audit log is forwarded to: over TLS, or over plain TCP") \
    X(AUDIT_WEBHOOK, "audit_webhook", TEXT, "", 0, 0, "https://HOST[:PORT]/PATH", 1, "Where the audit log is posted to, in signed batches of JSON") \
    X(AUDIT_WEBHOOK_SECRET, "audit_webhook_secret", SECRET, "", 0, 0, "whsec_BASE64", 1, "Key that posts to audit_webhook are signed with (Standard Webhooks), 24 to 64 bytes") \
    X(AUDIT_KEEP, "audit_keep", TIME, "0", 0, 315360000000000, "time, 0 for ever", 1, "Older rows of the audit log are removed, a signed tombstone tells how many") \
    X(SIGNUP, "signup", ENUM, "invitation", 0, 0, "open|invitation|closed", 1, "Who may make an account: everybody, who is invited, or nobody but administrators") \
    X(SMTP_URL, "smtp_url", TEXT, "", 0, 0, "smtp(s)://host[:port] or empty", 0, "Mail server; empty: no mail, administrators hand out links") \
    X(SMTP_USER, "smtp_user", TEXT, "", 0, 0, "text", 0, "User at the mail server; empty: without login") \
    X(SMTP_PASSWORD, "smtp_password", SECRET, "", 0, 0, "text", 0, "Password of smtp_user") \
    X(SMTP_PLAIN, "smtp_plain", BOOL, "false", 0, 0, "true or false", 0, "Allow smtp:// without STARTTLS: for a relay on this machine") \
    X(MAIL_FROM, "mail_from", TEXT, "", 0, 0, "address", 0, "Sender of mail") \
    X(DRAIN_TIMEOUT, "drain_timeout", TIME, "20s", 0, 3600000000, "time", 1, "Running requests may take so long after SIGTERM")
enum config_index {
#define X(id, name, type, def, min, max, allowed, reload, help) CONFIG_##id,
    CONFIG_KEYS(X)
#undef X
        CONFIG_COUNT
};
#endif
