/* Quotas: pushes of unknown length, mounts, cancels, collection, shrinking plans and kill -9 in any
 * order never pass a limit by a byte, and the sums are those of the rows. */
#include "db_box.h"

#include "policy/quota.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { ACCOUNTS = 3, REPOS = 3, DIGESTS = 12, UPLOADS = 8 };
#define FULL_AT INT64_C(1000)

static struct plan_limits limits_of(int64_t bytes)
{
    return (struct plan_limits){.bytes = bytes, .private_repos = 1, .collaborators = 10, .seats = -1, .builds = 0};
}

static struct digest digest_no(int i)
{
    struct digest d = {.alg = i % 2 ? DIGEST_SHA256 : DIGEST_SHA512, .len = i % 2 ? 32 : 64};
    d.bytes[0] = (uint8_t)i;
    return d;
}

static int64_t size_no(int i) { return 37 * i % 400; } /* one of them is empty */

/* ---- one operation ---- */
struct op {
    enum { RESERVE, RELEASE, SETTLE, LINK, UNLINK, EXPIRE, ORPHANS, ADD, USAGE, WRONG, RECOUNT } op;
    int64_t account, limit; /* of bytes */
    int upload, digest;
    bool new_link;
    int64_t least, want, at; /* at: expires, or now */
    enum quota_kind kind;
    int64_t n;
    bool warned;
    struct quota_usage usage;
};

static int op_inner(struct db_tx *tx, struct op *q, struct err *err)
{
    struct plan_limits l = limits_of(q->limit);
    struct digest d = digest_no(q->digest);
    char upload[24];
    (void)snprintf(upload, sizeof upload, "upload%d", q->upload);
    switch (q->op) {
    case RESERVE:
        return quota_tx_reserve(tx, q->account, &l, upload, q->least, q->want, q->at, &q->n, err);
    case RELEASE:
        return quota_tx_release(tx, upload, err);
    case SETTLE:
        return quota_tx_settle(tx, q->account, &l, upload, &d, size_no(q->digest), q->new_link, &q->warned, err);
    case LINK:
        return quota_tx_link(tx, q->account, &l, &d, size_no(q->digest), &q->warned, err);
    case UNLINK:
        return quota_tx_unlink(tx, q->account, &d, err);
    case EXPIRE:
        return quota_tx_expire(tx, q->at, 100, err);
    case ORPHANS:
        return quota_tx_orphans(tx, 100, err);
    case ADD:
        return quota_tx_add(tx, q->account, &l, q->kind, q->n, &q->warned, err);
    case WRONG:
        return quota_tx_wrong(tx, &q->n, err);
    case RECOUNT:
        return quota_tx_recount(tx, err);
    case USAGE:
        break;
    }
    return quota_tx_usage(tx, q->account, q->kind, &q->usage, err);
}

static int op_run(struct db_tx *tx, void *arg, struct err *err) { return op_inner(tx, arg, err); }

static int op(struct box *b, struct op *q)
{
    b->err = (struct err){0};
    bool looks = q->op == USAGE || q->op == WRONG;
    return looks ? db_read(b->db, op_run, q, &b->err) : db_write(b->db, op_run, q, &b->err);
}

static struct quota_usage usage(struct box *b, int64_t account, enum quota_kind kind)
{
    struct op q = {.op = USAGE, .account = account, .kind = kind};
    ok(b, op(b, &q));
    return q.usage;
}

static int64_t wrong(struct box *b)
{
    struct op q = {.op = WRONG};
    ok(b, op(b, &q));
    return q.n;
}

/* ---- the model ---- */
struct model {
    int64_t limit[ACCOUNTS], bytes[UPLOADS], owner[UPLOADS], expires[UPLOADS];
    bool open[UPLOADS], linked[ACCOUNTS][REPOS][DIGESTS], warned[ACCOUNTS];
    int64_t now;
};

static int links(const struct model *m, int64_t a, int d)
{
    int n = 0;
    for (int r = 0; r < REPOS; r++)
        n += m->linked[a][r][d];
    return n;
}

static int64_t used(const struct model *m, int64_t a)
{
    int64_t sum = 0;
    for (int d = 0; d < DIGESTS; d++)
        sum += links(m, a, d) > 0 ? size_no(d) : 0;
    return sum;
}

static int64_t reserved(const struct model *m, int64_t a)
{
    int64_t sum = 0;
    for (int u = 0; u < UPLOADS; u++)
        sum += m->open[u] && m->owner[u] == a ? m->bytes[u] : 0;
    return sum;
}

static int64_t room(const struct model *m, int64_t a)
{
    return m->limit[a] < 0 ? INT64_MAX / 2 : m->limit[a] - used(m, a) - reserved(m, a);
}

/* Marks as quota.h says them; what was before: old. */
static bool model_warn(struct model *m, int64_t a, int64_t old)
{
    int64_t limit = m->limit[a], n = used(m, a);
    if (limit <= 0 || old * 10 <= limit * 7)
        m->warned[a] = false;
    bool told = limit > 0 && n * 5 >= limit * 4 && !m->warned[a] && n > old;
    m->warned[a] |= told;
    return told;
}

static void step_reserve(struct box *b, struct model *m, unsigned *seed)
{
    int u = (int)(rand_r(seed) % UPLOADS);
    int64_t a = m->open[u] ? m->owner[u] : rand_r(seed) % ACCOUNTS, have = m->open[u] ? m->bytes[u] : 0;
    struct op q = {.op = RESERVE, .account = a + 1, .limit = m->limit[a], .upload = u, .at = m->now + rand_r(seed) % 100};
    q.least = have + rand_r(seed) % 100;
    q.want = q.least + rand_r(seed) % 300;
    int64_t left = room(m, a), more = q.want - have;
    if (m->limit[a] < 0) {
        assert_int_equal(op(b, &q), 0);
        assert_int_equal(q.n, INT64_MAX);
        return;
    }
    more = more > left ? left : more;
    more = more < 0 ? 0 : more;
    bool fits = q.least - have <= more;
    assert_int_equal(op(b, &q), fits ? 0 : ERR_QUOTA);
    if (!fits)
        return;
    assert_int_equal(q.n, have + more);
    m->open[u] = true;
    m->owner[u] = a;
    m->bytes[u] = have + more;
    m->expires[u] = q.at;
}

static void step_link(struct box *b, struct model *m, unsigned *seed, bool settle)
{
    int u = (int)(rand_r(seed) % UPLOADS), r = (int)(rand_r(seed) % REPOS), d = (int)(rand_r(seed) % DIGESTS);
    int64_t a = settle && m->open[u] ? m->owner[u] : rand_r(seed) % ACCOUNTS, old = used(m, a);
    bool is_new = !m->linked[a][r][d];
    if (!is_new && !settle)
        return; /* the registry calls for new rows only */
    int64_t freed = settle && m->open[u] ? m->bytes[u] : 0, more = is_new && links(m, a, d) == 0 ? size_no(d) : 0;
    bool fits = more == 0 || more <= room(m, a) + freed;
    struct op q = {.op = settle ? SETTLE : LINK, .account = a + 1, .limit = m->limit[a], .upload = u, .digest = d, .new_link = is_new};
    assert_int_equal(op(b, &q), fits ? 0 : ERR_QUOTA);
    if (!fits)
        return;
    if (settle)
        m->open[u] = false;
    bool first = is_new && links(m, a, d) == 0;
    m->linked[a][r][d] = true;
    assert_int_equal(q.warned, first && model_warn(m, a, old));
}

static void step_less(struct box *b, struct model *m, unsigned *seed)
{
    int u = (int)(rand_r(seed) % UPLOADS), r = (int)(rand_r(seed) % REPOS), d = (int)(rand_r(seed) % DIGESTS), n = 0;
    int64_t a = rand_r(seed) % ACCOUNTS;
    struct op q = {.upload = u, .account = a + 1, .digest = d, .at = m->now};
    switch (rand_r(seed) % 3) {
    case 0:
        q.op = RELEASE;
        assert_int_equal(op(b, &q), m->open[u]);
        m->open[u] = false;
        return;
    case 1:
        q.op = EXPIRE;
        for (u = 0; u < UPLOADS; u++)
            if (m->open[u] && m->expires[u] <= m->now) {
                m->open[u] = false;
                n++;
            }
        assert_int_equal(op(b, &q), n);
        return;
    default:
        q.op = UNLINK;
        if (m->linked[a][r][d] || links(m, a, d) == 0)
            assert_int_equal(op(b, &q), m->linked[a][r][d]);
        m->linked[a][r][d] = false;
    }
}

static void compare(struct box *b, const struct model *m)
{
    for (int64_t a = 0; a < ACCOUNTS; a++) {
        struct quota_usage u = usage(b, a + 1, QUOTA_BYTES);
        assert_int_equal(u.used, used(m, a));
        assert_int_equal(u.reserved, reserved(m, a));
    }
    assert_int_equal(wrong(b), 0);
}

static void test_model(void **state)
{
    START(b);
    static struct model m;
    static const int64_t plans[] = {FULL_AT, 700, 1500, -1, 0};
    unsigned seed = 42;
    box_open(&b);
    memset(&m, 0, sizeof m);
    for (int a = 0; a < ACCOUNTS; a++)
        m.limit[a] = FULL_AT;
    int steps = b.postgres ? 800 : 3000;
    for (int i = 0; i < steps; i++) {
        int what = rand_r(&seed) % 10;
        m.now += rand_r(&seed) % 10;
        if (rand_r(&seed) % 50 == 0)
            m.limit[rand_r(&seed) % ACCOUNTS] = plans[(size_t)rand_r(&seed) % ARRAY_LEN(plans)];
        if (what < 3)
            step_reserve(&b, &m, &seed);
        else if (what < 7)
            step_link(&b, &m, &seed, what < 5);
        else
            step_less(&b, &m, &seed);
        if (i % 10 == 0)
            compare(&b, &m);
    }
    compare(&b, &m);
    box_release(&b);
}

/* ---- many pushers at once ---- */
enum { PUSHERS = 8 };
struct pusher {
    struct box *box;
    int no, rounds;
    _Atomic int *quota, *pushed;
    pthread_t thread;
};

/* Whatever a callback did, the limit holds at its end. */
static int op_checked(struct db_tx *tx, void *arg, struct err *err)
{
    struct op *q = arg;
    int rc = op_inner(tx, q, err);
    struct quota_usage u;
    int check = rc == ERR_QUOTA ? 0 : quota_tx_usage(tx, 1, QUOTA_BYTES, &u, err);
    if (rc >= 0 && check == 0 && u.used + u.reserved > FULL_AT)
        abort();
    return rc;
}

static int pusher_op(struct pusher *p, struct op *q)
{
    struct err err = {0};
    q->account = 1;
    q->limit = FULL_AT;
    int rc = db_write(p->box->db, op_checked, q, &err);
    if (rc < 0 && rc != ERR_QUOTA)
        abort();
    return rc;
}

/* A push in chunks of unknown number, then its end: a blob, or nothing; blobs go again. */
static void push_once(struct pusher *p, unsigned *seed)
{
    int d = p->no; /* each its own: the rule of rows is the registry's */
    struct op more = {.op = RESERVE, .upload = p->no, .at = 1};
    int64_t have = 0;
    int rc = 0;
    while (rc == 0 && have < size_no(d)) {
        more.least = have + 1;
        more.want = have + 1 + rand_r(seed) % 120;
        rc = pusher_op(p, &more);
        have = rc == 0 ? more.n : have;
    }
    struct op end = {.op = rc == 0 && rand_r(seed) % 4 ? SETTLE : RELEASE, .upload = p->no, .digest = d, .new_link = true};
    if (pusher_op(p, &end) < 0)
        abort(); /* what was reserved fits */
    atomic_fetch_add(p->quota, rc != 0);
    if (end.op != SETTLE)
        return;
    atomic_fetch_add(p->pushed, 1);
    struct op mount = {.op = LINK, .digest = d}, gone = {.op = UNLINK, .digest = d};
    bool mounted = pusher_op(p, &mount) == 0;
    if (!mounted || pusher_op(p, &gone) != 1 || pusher_op(p, &gone) != 1)
        abort();
}

static void *pusher_main(void *arg)
{
    struct pusher *p = arg;
    unsigned seed = (unsigned)p->no;
    for (int i = 0; i != p->rounds; i++)
        push_once(p, &seed);
    return NULL;
}

static void push_all(struct box *b, int rounds, _Atomic int *quota, _Atomic int *pushed)
{
    struct pusher p[PUSHERS];
    for (int i = 0; i < PUSHERS; i++) {
        p[i] = (struct pusher){.box = b, .no = i + 4, .rounds = rounds, .quota = quota, .pushed = pushed};
        if (pthread_create(&p[i].thread, NULL, pusher_main, &p[i]) != 0)
            abort();
    }
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(p[i].thread, NULL);
}

static void test_pushers(void **state)
{
    START(b);
    _Atomic int quota = 0, pushed = 0;
    box_open(&b);
    push_all(&b, b.postgres ? 10 : 25, &quota, &pushed);
    assert_true(atomic_load(&quota) > 0 && atomic_load(&pushed) > 0);
    struct quota_usage u = usage(&b, 1, QUOTA_BYTES);
    assert_int_equal(u.used, 0);
    assert_int_equal(u.reserved, 0);
    assert_int_equal(wrong(&b), 0);
    box_release(&b);
}

/* A server that is killed while they push; the next one finds what is no upload any more. */
static void test_killed(void **state)
{
    START(b);
    box_open(&b);
    for (int round = 0; round < 3; round++) {
        db_close(take(&b.db));
        pid_t child = fork();
        if (child == 0) {
            _Atomic int quota = 0, pushed = 0;
            b.db = NULL;
            if (db_open(&b.db, b.dir, b.url, 4, true, &b.err) == 0)
                push_all(&b, -1, &quota, &pushed);
            _exit(1);
        }
        usleep(150000 + 50000 * (unsigned)round);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        for (int i = 0; db_open(&b.db, b.dir, b.url, 4, true, &b.err) < 0; i++) {
            assert_true(i < 600); /* PostgreSQL notices a dead owner in its own time */
            usleep(100000);
        }
        assert_int_equal(wrong(&b), 0);
        struct quota_usage u = usage(&b, 1, QUOTA_BYTES);
        assert_true(u.used + u.reserved <= FULL_AT);
        struct op orphans = {.op = ORPHANS};
        assert_true(op(&b, &orphans) >= 0);
        assert_int_equal(usage(&b, 1, QUOTA_BYTES).reserved, 0);
        assert_int_equal(number(&b, "SELECT count(*) FROM reservations"), 0);
        assert_int_equal(wrong(&b), 0);
        run(&b, "DELETE FROM account_blobs"); /* the pushers' own rules start anew */
        struct op recount = {.op = RECOUNT};
        ok(&b, op(&b, &recount));
        assert_int_equal(usage(&b, 1, QUOTA_BYTES).used, 0);
    }
    box_release(&b);
}

/* An upload that has a row keeps its room over a restart. */
static void test_orphans(void **state)
{
    START(b);
    box_open(&b);
    add_user(&b, "jane");
    run(&b, "INSERT INTO namespaces (name, created_at) VALUES ('jane', 0)");
    run(&b, "INSERT INTO repos (namespace_id, name, public, created_at) SELECT id, 'jane/x', 0, 0 FROM namespaces");
    run(&b, "INSERT INTO uploads (id, repo_id, user_id, alg, size, created_at, touched_at) "
            "SELECT 'upload1', r.id, u.id, 1, 5, 0, 0 FROM repos r, accounts u");
    for (int u = 0; u < 3; u++) {
        struct op q = {.op = RESERVE, .account = 1, .limit = 100, .upload = u, .least = 10, .want = 10, .at = 50};
        assert_int_equal(op(&b, &q), 0);
    }
    struct op orphans = {.op = ORPHANS};
    assert_int_equal(op(&b, &orphans), 2);
    assert_int_equal(op(&b, &orphans), 0);
    assert_int_equal(usage(&b, 1, QUOTA_BYTES).reserved, 10);
    struct op expire = {.op = EXPIRE, .at = 49};
    assert_int_equal(op(&b, &expire), 0);
    expire.at = 50;
    assert_int_equal(op(&b, &expire), 1);
    assert_int_equal(usage(&b, 1, QUOTA_BYTES).reserved, 0);
    assert_int_equal(wrong(&b), 0);
    box_release(&b);
}

/* ---- counted things, warnings, repair ---- */
static int add(struct box *b, enum quota_kind kind, int64_t n, bool warned)
{
    struct op q = {.op = ADD, .account = 7, .limit = -1, .kind = kind, .n = n};
    int rc = op(b, &q);
    if (rc == 0)
        assert_int_equal(q.warned, warned);
    return rc;
}

static void test_counts(void **state)
{
    START(b);
    box_open(&b);
    assert_int_equal(add(&b, QUOTA_BUILDS, 1, false), ERR_QUOTA);
    assert_int_equal(add(&b, QUOTA_PRIVATE_REPOS, 1, true), 0);
    assert_int_equal(add(&b, QUOTA_PRIVATE_REPOS, 1, false), ERR_QUOTA);
    assert_non_null(strstr(b.err.text, "private_repos: 1 of 1 are used"));
    assert_int_equal(add(&b, QUOTA_PRIVATE_REPOS, -1, false), 0);
    assert_int_equal(add(&b, QUOTA_PRIVATE_REPOS, -1, false), ERR_INTERNAL);
    assert_int_equal(add(&b, QUOTA_SEATS, 1000000, false), 0);
    assert_int_equal(usage(&b, 7, QUOTA_SEATS).used, 1000000);
    assert_int_equal(usage(&b, 7, QUOTA_BYTES).used, 0);
    /* 80 % of ten collaborators, once; again after 70 %. */
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, 7, false), 0);
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, 1, true), 0);
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, 2, false), 0);
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, -2, false), 0);
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, 2, false), 0);
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, -3, false), 0);
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, 1, true), 0);
    assert_int_equal(add(&b, QUOTA_COLLABORATORS, INT64_MAX, false), ERR_QUOTA);
    box_release(&b);
}

static void test_repair(void **state)
{
    START(b);
    box_open(&b);
    for (int d = 1; d < 4; d++)
        for (int64_t a = 1; a < 3; a++) {
            struct op q = {.op = LINK, .account = a, .limit = -1, .digest = d};
            ok(&b, op(&b, &q));
        }
    assert_int_equal(wrong(&b), 0);
    run(&b, "UPDATE usage SET used = used + 1 WHERE account_id = 1");
    run(&b, "DELETE FROM usage WHERE account_id = 2");
    run(&b, "INSERT INTO usage (account_id, kind, used, reserved, warned) VALUES (3, 1, 5, 5, 0)");
    assert_int_equal(wrong(&b), 3);
    struct op recount = {.op = RECOUNT};
    ok(&b, op(&b, &recount));
    assert_int_equal(wrong(&b), 0);
    assert_int_equal(usage(&b, 1, QUOTA_BYTES).used, 37 * 6);
    assert_int_equal(usage(&b, 2, QUOTA_BYTES).used, 37 * 6);
    assert_int_equal(usage(&b, 3, QUOTA_BYTES).reserved, 0);
    box_release(&b);
}

/* ---- a database of the registry's first schema ---- */
static const char *const first_schema[] = {
    "{\"schema\":1}",
    "{\"t\":\"users\",\"r\":[1,\"jane\",\"\",0,0,0,0]}",
    "{\"t\":\"namespaces\",\"r\":[1,\"jane\",1,0]}",
    "{\"t\":\"namespaces\",\"r\":[2,\"library\",null,0]}",
    "{\"t\":\"repos\",\"r\":[1,1,\"jane/a\",0,0]}",
    "{\"t\":\"repos\",\"r\":[2,1,\"jane/b\",1,0]}",
    "{\"t\":\"repos\",\"r\":[3,2,\"library/c\",1,0]}",
    "{\"t\":\"blobs\",\"r\":[{\"b\":\"AQ==\"},100,0,0,0,0,0]}",
    "{\"t\":\"blobs\",\"r\":[{\"b\":\"Ag==\"},30,0,0,0,0,0]}",
    "{\"t\":\"repo_blobs\",\"r\":[1,{\"b\":\"AQ==\"},0]}",
    "{\"t\":\"repo_blobs\",\"r\":[2,{\"b\":\"AQ==\"},0]}",
    "{\"t\":\"repo_blobs\",\"r\":[3,{\"b\":\"Ag==\"},0]}",
    "{\"t\":\"manifests\",\"r\":[1,1,{\"b\":\"Aw==\"},\"t\",\"\",null,\"\",4,0,{\"b\":\"eHl6eg==\"}]}",
    "{\"rows\":12}",
};

static int next_line(void *arg, struct str *ret, struct err *err)
{
    size_t *at = arg;
    (void)err;
    if (*at == ARRAY_LEN(first_schema))
        return 0;
    *ret = str_of(first_schema[(*at)++]);
    return 1;
}

static void test_upgrade(void **state)
{
    START(b);
    size_t at = 0;
    ok(&b, db_load(b.dir, b.url, STR_LIT("s"), next_line, &at, &b.err));
    box_open(&b);
    int64_t jane = number(&b, "SELECT id FROM accounts WHERE name = 'jane'"),
            library = number(&b, "SELECT id FROM accounts WHERE name = 'library'");
    assert_int_equal(usage(&b, jane, QUOTA_BYTES).used, 104);
    assert_int_equal(usage(&b, library, QUOTA_BYTES).used, 30);
    assert_int_equal(usage(&b, jane, QUOTA_PRIVATE_REPOS).used, 1);
    assert_int_equal(usage(&b, library, QUOTA_PRIVATE_REPOS).used, 0);
    assert_int_equal(number(&b, "SELECT links FROM account_blobs WHERE size = 100"), 2);
    assert_int_equal(wrong(&b), 0);
    box_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_model), BOTH(test_pushers), BOTH(test_killed), BOTH(test_orphans), BOTH(test_counts), BOTH(test_repair),
        BOTH(test_upgrade),
    };
    return cmocka_run_group_tests_name("policy-quota", tests, NULL, NULL);
}
