/* The rules of quotas. Each change reads the account's sum, decides, and writes it back: the
 * transaction is serializable on both engines. */
#include "policy/quota_int.h"

static const struct {
    const char *name;
    size_t offset;
} kinds[] = {
#define KIND(id, field) [id] = {#field, offsetof(struct plan_limits, field)}
    KIND(QUOTA_BYTES, bytes), KIND(QUOTA_PRIVATE_REPOS, private_repos), KIND(QUOTA_COLLABORATORS, collaborators),
    KIND(QUOTA_SEATS, seats), KIND(QUOTA_BUILDS, builds),
#undef KIND
};

int64_t quota_limit(const struct plan_limits *limits, enum quota_kind kind)
{
    return *(const int64_t *)((const char *)limits + kinds[kind].offset);
}

const char *quota_name(enum quota_kind kind) { return kinds[kind].name; }

int quota_tx_usage(struct db_tx *tx, int64_t account, enum quota_kind kind, struct quota_usage *ret, struct err *err)
{
    *ret = (struct quota_usage){0, 0, false};
    int rc = usage_tx_get(tx, account, kind, ret, err);
    return rc < 0 ? rc : 0;
}

static int64_t room(const struct quota_usage *u, int64_t limit)
{
    return limit < 0 ? INT64_MAX - u->used - u->reserved : limit - u->used - u->reserved;
}

static int full(const struct quota_usage *u, enum quota_kind kind, int64_t limit, int64_t n, struct err *err)
{
    return err_set(err, ERR_QUOTA, "quota of %s: %lld of %lld are used, %lld more are reserved; %lld do not fit",
                   kinds[kind].name, (long long)u->used, (long long)limit, (long long)u->reserved, (long long)n);
}

/* Counts n and keeps the mark; true when it was set now. Use may have fallen since the last look. */
static bool count(struct quota_usage *u, int64_t limit, int64_t n)
{
    if (limit <= 0 || u->used <= limit / 10 * 7 + limit % 10 * 7 / 10)
        u->warned = false;
    u->used += n;
    bool told = n > 0 && limit > 0 && !u->warned && u->used >= limit - limit / 5;
    u->warned |= told;
    return told;
}

int quota_tx_add(struct db_tx *tx, int64_t account, const struct plan_limits *limits, enum quota_kind kind, int64_t n,
                 bool *ret_warn, struct err *err)
{
    struct quota_usage u;
    int64_t limit = quota_limit(limits, kind);
    int rc = quota_tx_usage(tx, account, kind, &u, err);
    if (rc < 0)
        return rc;
    if (n > 0 && n > room(&u, limit))
        return full(&u, kind, limit, n, err);
    if (u.used + n < 0)
        return err_set(err, ERR_INTERNAL, "usage of %s would be below 0", kinds[kind].name);
    bool told = count(&u, limit, n);
    if (ret_warn != NULL)
        *ret_warn = told;
    return usage_tx_put(tx, account, kind, &u, err);
}

static struct str key_of(const struct digest *d, uint8_t key[DIGEST_KEY_MAX])
{
    return (struct str){(const char *)key, digest_key(d, key)};
}

int quota_tx_link(struct db_tx *tx, int64_t account, const struct plan_limits *limits, const struct digest *d,
                  int64_t size, bool *ret_warn, struct err *err)
{
    uint8_t bytes[DIGEST_KEY_MAX];
    struct str key = key_of(d, bytes);
    struct quota_blob b = {size, 0};
    if (ret_warn != NULL)
        *ret_warn = false;
    int rc = account_blob_tx_get(tx, account, key, &b, err);
    if (rc == 0)
        rc = quota_tx_add(tx, account, limits, QUOTA_BYTES, size, ret_warn, err);
    if (rc < 0)
        return rc;
    b.links++;
    return account_blob_tx_put(tx, account, key, &b, err);
}

static int subtract(struct db_tx *tx, int64_t account, int64_t used, int64_t reserved, struct err *err)
{
    struct quota_usage u;
    int rc = quota_tx_usage(tx, account, QUOTA_BYTES, &u, err);
    if (rc < 0)
        return rc;
    if (u.used < used || u.reserved < reserved)
        return err_set(err, ERR_INTERNAL, "usage of bytes would be below 0");
    u.used -= used;
    u.reserved -= reserved;
    return usage_tx_put(tx, account, QUOTA_BYTES, &u, err);
}

int quota_tx_unlink(struct db_tx *tx, int64_t account, const struct digest *d, struct err *err)
{
    uint8_t bytes[DIGEST_KEY_MAX];
    struct str key = key_of(d, bytes);
    struct quota_blob b;
    int rc = account_blob_tx_get(tx, account, key, &b, err);
    if (rc <= 0)
        return rc;
    if (--b.links > 0) {
        rc = account_blob_tx_put(tx, account, key, &b, err);
    } else {
        rc = account_blob_tx_delete(tx, account, key, err);
        if (rc == 0)
            rc = subtract(tx, account, b.size, 0, err);
    }
    return rc < 0 ? rc : 1;
}

/* ---- reservations ---- */
int quota_tx_reserve(struct db_tx *tx, int64_t account, const struct plan_limits *limits, const char *upload,
                     int64_t least, int64_t want, int64_t expires, int64_t *ret_bytes, struct err *err)
{
    struct quota_reservation r = {.account = account, .bytes = 0};
    struct quota_usage u;
    BUG_ON(strlen(upload) > QUOTA_UPLOAD_MAX || least > want);
    if (limits->bytes < 0) {
        *ret_bytes = INT64_MAX;
        return 0;
    }
    text_copy(r.upload, sizeof r.upload, str_of(upload));
    int rc = reservation_tx_get(tx, upload, &r, err);
    if (rc < 0 || (rc = quota_tx_usage(tx, r.account, QUOTA_BYTES, &u, err)) < 0)
        return rc;
    int64_t left = room(&u, limits->bytes), more = want - r.bytes;
    if (more > left)
        more = left;
    if (more < 0)
        more = 0;
    if (least - r.bytes > more)
        return full(&u, QUOTA_BYTES, limits->bytes, least - r.bytes, err);
    u.reserved += more;
    r.bytes += more;
    if ((rc = usage_tx_put(tx, r.account, QUOTA_BYTES, &u, err)) < 0 ||
        (rc = reservation_tx_put(tx, &r, expires, err)) < 0)
        return rc;
    *ret_bytes = r.bytes;
    return 0;
}

static int release(struct db_tx *tx, const struct quota_reservation *r, struct err *err)
{
    int rc = reservation_tx_delete(tx, r->upload, err);
    return rc < 0 ? rc : subtract(tx, r->account, 0, r->bytes, err);
}

int quota_tx_release(struct db_tx *tx, const char *upload, struct err *err)
{
    struct quota_reservation r;
    int rc = reservation_tx_get(tx, upload, &r, err);
    if (rc <= 0)
        return rc;
    rc = release(tx, &r, err);
    return rc < 0 ? rc : 1;
}

int quota_tx_settle(struct db_tx *tx, int64_t account, const struct plan_limits *limits, const char *upload,
                    const struct digest *d, int64_t size, bool new_link, bool *ret_warn, struct err *err)
{
    if (ret_warn != NULL)
        *ret_warn = false;
    int rc = quota_tx_release(tx, upload, err);
    if (rc < 0 || !new_link)
        return rc < 0 ? rc : 0;
    return quota_tx_link(tx, account, limits, d, size, ret_warn, err);
}

int quota_tx_expire(struct db_tx *tx, int64_t now, int max, struct err *err)
{
    struct quota_reservation r;
    int n = 0, rc = 0;
    while (n < max && (rc = reservation_tx_expired(tx, now, &r, err)) == 1) {
        if ((rc = release(tx, &r, err)) < 0)
            return rc;
        n++;
    }
    return rc < 0 ? rc : n;
}

int quota_tx_orphans(struct db_tx *tx, int max, struct err *err)
{
    struct quota_reservation r;
    int n = 0, rc = 0;
    while (n < max && (rc = reservation_tx_orphan(tx, &r, err)) == 1) {
        if ((rc = release(tx, &r, err)) < 0)
            return rc;
        n++;
    }
    return rc < 0 ? rc : n;
}
