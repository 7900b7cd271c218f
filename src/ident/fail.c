/* What failed logins slow down: the address they came from, and the account they were aimed at (T06).
 *
 * A bucket that leaks for each. An account has one bucket for all addresses that never logged in to it,
 * and one for each that did: guessing from a thousand places comes to an end, and the owner at his desk
 * notices nothing. */
#include "ident/outside.h"

#include <arpa/inet.h>

enum { FAIL_WINDOW = 60000000, ACCOUNT_WINDOW = 600000000, FACTOR_TRIES = 6, FAIL_WAYS = 4 };

static const char KNOWN[] = "SELECT account_id FROM login_addresses WHERE account_id = $1 AND address = $2";
static const char HOW_MANY[] = "SELECT count(*) FROM login_addresses WHERE account_id = $1";
static const char SEEN[] = "INSERT INTO login_addresses (account_id, address, seen_at) VALUES ($1, $2, $3) "
                           "ON CONFLICT (account_id, address) DO UPDATE SET seen_at = excluded.seen_at";
static const char LOGIN_AT[] = "UPDATE accounts SET last_login_at = $2 WHERE id = $1";
/* A hundred are enough for anybody; the oldest go. */
static const char FORGET[] = "DELETE FROM login_addresses WHERE account_id = $1 AND address IN (SELECT address FROM login_addresses "
                             "WHERE account_id = $1 ORDER BY seen_at DESC LIMIT 100 OFFSET 100)";

static uint64_t address_key(struct str client)
{
    char text[64];
    uint8_t addr[16];
    text_copy(text, sizeof text, client);
    if (inet_pton(AF_INET6, text, addr) == 1) /* one network of 64 bits is one customer */
        return hashkey((struct str){(const char *)addr, 8});
    return hashkey(client);
}

static struct fail_slot *fail_slot(struct ident *i, uint64_t who, int64_t now)
{
    struct fail_slot *least = NULL;
    for (uint64_t w = 0; w < FAIL_WAYS; w++) {
        struct fail_slot *f = &i->fails[(who + w) % FAIL_SLOTS];
        f->level = f->level > now - f->at ? f->level - (now - f->at) : 0;
        f->at = now;
        if (f->who == who)
            return f;
        if (least == NULL || f->level < least->level)
            least = f;
    }
    *least = (struct fail_slot){who, 0, now};
    return least;
}

static bool full(struct ident *i, uint64_t who, int64_t level)
{
    (void)pthread_mutex_lock(&i->lock);
    bool yes = fail_slot(i, who, clock_mono())->level >= level;
    (void)pthread_mutex_unlock(&i->lock);
    return yes;
}

static void count(struct ident *i, uint64_t who, int64_t share)
{
    (void)pthread_mutex_lock(&i->lock);
    fail_slot(i, who, clock_mono())->level += share;
    (void)pthread_mutex_unlock(&i->lock);
}

/* A proxy that does not say for whom it speaks is not everybody's culprit: one client's failures
 * would lock out all others. */
int fail_address_check(struct ident *i, const struct http_req *r, struct err *err)
{
    if (atomic_load(&i->max_failures) == 0 || r->client_unknown || !full(i, address_key(r->client), FAIL_WINDOW))
        return 0;
    return err_set(err, ERR_TOOMANYREQUESTS, "too many failed logins from %.*s; try again in a minute", STR_FMT(r->client));
}

void fail_address_count(struct ident *i, const struct http_req *r)
{
    int64_t max = atomic_load(&i->max_failures);
    metric_add(METRIC_AUTH_FAILED, 1);
    if (max != 0 && !r->client_unknown)
        count(i, address_key(r->client), FAIL_WINDOW / max + 1);
}

static uint64_t account_key(const struct http_req *r, enum fail_kind kind, struct str account, bool known)
{
    char name[ACCOUNT_NAME_MAX + 1]; /* a directory takes one name in many spellings: they share a bucket */
    outsider_name(account, name);
    uint64_t parts[3] = {(uint64_t)kind, hashkey(str_of(name)), known ? address_key(r->client) : 0};
    return hashkey((struct str){(const char *)parts, sizeof parts});
}

/* Six digits bear few guesses, whatever the setting for passwords. */
static int64_t tries(struct ident *i, enum fail_kind kind)
{
    return kind == FAIL_FACTOR ? FACTOR_TRIES : atomic_load(&i->max_failures);
}

int fail_account_check(struct ident *i, const struct http_req *r, enum fail_kind kind, struct str account, bool known, struct err *err)
{
    int64_t max = tries(i, kind);
    if (max == 0 || !full(i, account_key(r, kind, account, known), ACCOUNT_WINDOW - ACCOUNT_WINDOW / max + 1))
        return 0;
    return err_set(err, ERR_TOOMANYREQUESTS, "too many failed logins to this account; try again in some minutes");
}

void fail_account_count(struct ident *i, const struct http_req *r, enum fail_kind kind, struct str account, bool known)
{
    int64_t max = tries(i, kind);
    if (max != 0)
        count(i, account_key(r, kind, account, known), ACCOUNT_WINDOW / max);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int address_tx_known(struct db_tx *tx, int64_t account_id, struct str address, struct err *err)
{
    int64_t ignored;
    return db_one(tx, KNOWN, DB_ARGS(DB_I(account_id), DB_T(address)), map_int, &ignored, err);
}

int address_tx_seen(struct db_tx *tx, int64_t account_id, struct str address, int64_t now, struct err *err)
{
    int64_t n = 0;
    int known = address_tx_known(tx, account_id, address, err), rc = known;
    if (rc >= 0)
        rc = db_one(tx, HOW_MANY, DB_ARGS(DB_I(account_id)), map_int, &n, err);
    if (rc < 0 || (rc = db_exec(tx, SEEN, DB_ARGS(DB_I(account_id), DB_T(address), DB_I(now)), NULL, err)) < 0 ||
        (rc = db_exec(tx, LOGIN_AT, DB_ARGS(DB_I(account_id), DB_I(now)), NULL, err)) < 0 ||
        (n >= 100 && (rc = db_exec(tx, FORGET, DB_ARGS(DB_I(account_id)), NULL, err)) < 0))
        return rc;
    return known == 0 && n > 0;
}
