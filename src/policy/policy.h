/* Plans, and how much each caller pulls and pushes in a window. What accounts store and have: quota.h.
 *
 * A plan is a row that an administrator edits; -1 in a limit means unlimited. One plan is the
 * site's default: that of accounts that name none, and its `anonymous_pulls` is what each stranger's
 * address has. Plans stand in memory too: hold the plan's id in a cached fact, not its limits, and
 * ask policy_plan on the way (no lock, no database). Whoever changed plans calls
 * policy_plans_refresh between the commit and the answer; from then on every pull goes by the new
 * limits. (docs/adr/0010-windows-in-memory.md)
 *
 * What counts is the caller's business (a pull: a GET of an image manifest that is answered 200; a
 * push: a PUT of a manifest that makes a tag or a digest). */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H
#include "base/config.h"
#include "db/db.h"

/* ---- plans ---- */
enum { PLAN_NAME_MAX = 32 };
#define PLAN_UNLIMITED INT64_C(-1)
#define PLAN_COUNT_MAX INT64_C(1000000)     /* of pulls and pushes in a window; more is unlimited */
#define PLAN_WINDOW_MAX INT64_C(2678400)    /* 31 days */

/* X(name, least, most, help), in the order of the columns. */
#define PLAN_LIMITS(X)                                                                             \
    X(private_repos, -1, INT64_C(1) << 40, "private repositories")                                 \
    X(collaborators, -1, INT64_C(1) << 40, "collaborators on private repositories")                \
    X(seats, -1, INT64_C(1) << 40, "members of an organization, open invitations too")             \
    X(bytes, -1, INT64_C(1) << 60, "bytes stored")                                                 \
    X(builds, -1, INT64_C(1) << 40, "builds at once")                                              \
    X(pulls, -1, PLAN_COUNT_MAX, "pulls in a window")                                              \
    X(anonymous_pulls, -1, PLAN_COUNT_MAX, "pulls in a window from an address without an account") \
    X(pull_window, 60, PLAN_WINDOW_MAX, "window of pulls in seconds")                              \
    X(pushes, -1, PLAN_COUNT_MAX, "pushes in a window")                                            \
    X(push_window, 60, PLAN_WINDOW_MAX, "window of pushes in seconds")
struct plan_limits {
#define X(name, least, most, help) int64_t name;
    PLAN_LIMITS(X)
#undef X
};
struct plan_field {
    const char *name, *help;
    size_t offset; /* in struct plan_limits, of an int64_t */
    int64_t least, most;
};
const struct plan_field *plan_fields(size_t *ret_n);

struct plan {
    int64_t id;
    char name[PLAN_NAME_MAX + 1];
    bool site_default;
    struct plan_limits limits;
};

/* Inside transactions. id 0: the site's default. ERR_NOT_FOUND: no such plan. */
int policy_tx_plan(struct db_tx *tx, int64_t id, struct plan *ret, struct err *err);
int plan_tx_find(struct db_tx *tx, struct str name, struct plan *ret, struct err *err); /* ERR_NOT_FOUND */
/* By name. fn: 0 to go on, 1 to end, negative an error. */
typedef int (*plan_sink)(void *arg, const struct plan *plan, struct err *err);
int plan_tx_each(struct db_tx *tx, plan_sink fn, void *arg, struct err *err);
/* ERR_INVALID: a name that is none (a-z, 0-9 and - between, at most 32) or a limit out of its bounds;
 * the text names it and what is allowed. ERR_EXISTS. */
int plan_tx_add(struct db_tx *tx, struct str name, const struct plan_limits *limits, int64_t *ret_id, struct err *err);
/* ERR_DENIED for `unlimited`, which stays what its name says. */
int plan_tx_change(struct db_tx *tx, struct str name, const struct plan_limits *limits, struct err *err);
int plan_tx_default(struct db_tx *tx, struct str name, struct err *err);
/* accounts: how many name the plan, counted by the caller in this transaction (their table is above
 * this room). ERR_DENIED: in use, the site's default, or `unlimited`. */
int plan_tx_remove(struct db_tx *tx, struct str name, int64_t accounts, struct err *err);

/* ---- the server's part ---- */
struct policy;
/* Reads plans and windows. The database must outlive it. */
int policy_open(struct policy **ret, struct db *db, const struct config *c, struct err *err);
/* Saves windows every 30 s and at policy_close, in a thread. Without it nothing is saved: tools that
 * only look. */
int policy_start(struct policy *p, struct err *err);
void policy_reload(struct policy *p, const struct config *c); /* pull_exempt, read_only */
void policy_close(struct policy *p);                          /* NULL-safe */
/* Windows that changed, to the database; the thread's work. */
int policy_save(struct policy *p, struct err *err);
/* Never fails for good: what could not be read now the thread tries again, every 30 s. */
int policy_plans_refresh(struct policy *p, struct err *err);
/* id 0, and one that is not there any more: the site's default. Any thread, no lock. */
void policy_plan(struct policy *p, int64_t id, struct plan *ret);
/* A network of pull_exempt: neither limit nor count. Any thread, no lock. */
bool policy_exempt(struct policy *p, const uint8_t addr[16]);

/* ---- windows ----
 * A window begins with the first pull and ends `window` seconds later; in it exactly `max` pass,
 * whatever the number of threads. A pull of a caller who has a window is a compare-and-swap on one
 * word; the first one takes a place in its bucket (no other one waits but who comes new to the same
 * bucket at that instant).
 *
 * Clocks: `now` is wall time. It jumps ahead: windows end early. It jumps back, or a plan's window
 * gets shorter: a window never ends later than one window from now, and its count stays; so nobody
 * gains by it, and nobody waits longer than a window.
 *
 * Memory: 491,520 windows in 8 MiB, never more. A newcomer takes a free place of his bucket, or that
 * of a window that has ended, or that of the address with the lowest count there, which then counts
 * from 0 again; an account displaces addresses first. So a flood of addresses displaces itself, who
 * has used up his limit stays refused (his count is the highest), and nobody is ever charged for
 * another. Where only accounts are in a bucket, an address is not counted at all: better a pull too
 * many than one refused for no fault of the caller's.
 *
 * kill -9 loses the counts of the last 30 s (a save takes part of a second); a clean stop none. */
enum policy_kind { POLICY_PULL = 1, POLICY_PUSH = 2 };
enum policy_who { POLICY_ACCOUNT = 1, POLICY_ADDRESS = 2 };
struct policy_key {
    uint64_t id; /* account id; the upper half of an IPv6 address; an IPv4 address, marked */
    enum policy_who who;
};
struct policy_limit {
    int64_t max, window; /* -1 unlimited; seconds */
};
struct policy_verdict {
    struct policy_key key;
    enum policy_kind kind;
    bool limited; /* false: no limit applies, and no header is due */
    bool allowed;
    int64_t limit, remaining, window; /* seconds */
    int64_t reset;                    /* when the window ends, microseconds since 1970 */
};
struct policy_key policy_key_account(int64_t id);
struct policy_key policy_key_address(const uint8_t addr[16]); /* IPv6: its /64; mapped IPv4: IPv4 */
struct policy_limit policy_pull_limit(const struct plan_limits *l, enum policy_who who);
struct policy_limit policy_push_limit(const struct plan_limits *l);
/* Counts one, if it fits. now: clock_now(). */
void policy_count(struct policy *p, struct policy_key key, enum policy_kind kind, struct policy_limit limit,
                  int64_t now, struct policy_verdict *ret);
/* The same answer without counting, for HEAD and for pages: allowed says whether one more would pass. */
void policy_peek(struct policy *p, struct policy_key key, enum policy_kind kind, struct policy_limit limit,
                 int64_t now, struct policy_verdict *ret);

/* ---- what the answer says (Docker Hub's headers and words) ---- */
enum { POLICY_TEXT_MAX = 48 };
void policy_limit_text(const struct policy_verdict *v, char out[POLICY_TEXT_MAX]);     /* ratelimit-limit: 100;w=21600 */
void policy_remaining_text(const struct policy_verdict *v, char out[POLICY_TEXT_MAX]); /* ratelimit-remaining */
/* docker-ratelimit-source: 192.0.2.1, 2001:db8:1:2::, or the account's id in the form of a UUID. */
void policy_source_text(struct policy_key key, char out[POLICY_TEXT_MAX]);
int64_t policy_retry_after(const struct policy_verdict *v, int64_t now); /* seconds, at least 1 */
/* ERR_TOOMANYREQUESTS with the message; for pulls word for word that of Docker Hub. */
int policy_refuse(const struct policy_verdict *v, struct err *err);
/* The whole body: {"errors":[{"code":"TOOMANYREQUESTS","message":"..."}]} */
void policy_refuse_body(const struct policy_verdict *v, struct buf *out);
#endif
