/* Plans and windows: exact at the limit under threads, against a model over clocks and plans, over a
 * restart, in a flood; the texts of the answers; plans as rows. */
#include "db_box.h"

#include "base/clock.h"
#include "policy/policy_int.h"

#include <stdatomic.h>

#define S INT64_C(1000000) /* a second */
#define T0 (INT64_C(1800000000) * S)

static struct windows table;

static int table_up(void **state)
{
    (void)state;
    windows_init(&table, WINDOW_BUCKETS);
    return 0;
}

static int table_down(void **state)
{
    (void)state;
    windows_release(&table);
    return 0;
}

static struct policy_verdict use(struct policy_key key, struct policy_limit limit, int64_t now, bool count)
{
    struct policy_verdict v;
    window_use(&table, key, POLICY_PULL, limit, now, count, &v);
    return v;
}

static struct policy_key address(const char *text)
{
    uint8_t addr[16];
    assert_true(address_parse(str_of(text), addr));
    return policy_key_address(addr);
}

/* ---- exactly the limit ---- */
enum { THREADS = 64, ROUNDS = 10, TRIES = 5, LIMIT = 100 };
struct race {
    pthread_barrier_t start;
    struct policy_key key;
    _Atomic int passed, rest_ok;
    bool crowd; /* others come new to the same buckets meanwhile */
    _Atomic int others;
};

static void *race_main(void *arg)
{
    struct race *r = arg;
    pthread_barrier_wait(&r->start);
    for (int i = 0; i < TRIES; i++) {
        struct policy_verdict v = use(r->key, (struct policy_limit){LIMIT, 60}, T0, true);
        atomic_fetch_add(&r->passed, v.allowed);
        if (r->crowd)
            (void)use(policy_key_account(1000 + atomic_fetch_add(&r->others, 1)), (struct policy_limit){LIMIT, 60}, T0, true);
    }
    return NULL;
}

static void race_round(struct policy_key key, bool crowd)
{
    struct race r = {.key = key, .crowd = crowd};
    pthread_t threads[THREADS];
    pthread_barrier_init(&r.start, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race_main, &r), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&r.start);
    assert_int_equal(atomic_load(&r.passed), LIMIT);
    struct policy_verdict v = use(key, (struct policy_limit){LIMIT, 60}, T0, false);
    assert_false(v.allowed);
    assert_int_equal(v.remaining, 0);
}

static void test_exact(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++)
        race_round(policy_key_account(i + 1), false);
}

/* A small table, empty each time: places are taken all the while, not only counted in. */
static void test_exact_while_places_are_taken(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        windows_release(&table);
        windows_init(&table, 4 * WINDOW_PARTS);
        race_round(i % 2 ? address("2001:db8::1") : policy_key_account(1), true);
        for (int n = 0; n < THREADS * TRIES; n++)
            assert_int_equal(use(policy_key_account(1000 + n), (struct policy_limit){LIMIT, 60}, T0, false).remaining, LIMIT - 1);
    }
}

/* ---- a model of one window for each key ---- */
enum { KEYS = 40, STEPS = 300000 };
struct model {
    int64_t end, count;
};

static struct policy_verdict model_use(struct model *m, struct policy_limit limit, int64_t now, bool count)
{
    int64_t s = now / S;
    struct policy_verdict v = {.limited = limit.max >= 0, .limit = limit.max, .window = limit.window};
    if (!v.limited) {
        v.allowed = true;
        return v;
    }
    struct model n = *m;
    if (s >= n.end)
        n = (struct model){s + limit.window, 0};
    if (n.end > s + limit.window)
        n.end = s + limit.window;
    v.allowed = n.count < limit.max;
    n.count += v.allowed && count;
    v.remaining = n.count < limit.max ? limit.max - n.count : 0;
    v.reset = n.end * S;
    if (count && (v.allowed || m->end > s))
        *m = n;
    return v;
}

static int64_t jump(unsigned *seed, int64_t now)
{
    switch (rand_r(seed) % 40) {
    case 0:
        return now + rand_r(seed) % 100000 * S; /* ahead, past windows */
    case 1:
        return now > T0 ? now - rand_r(seed) % 50000 * S : now; /* back */
    default:
        return now + rand_r(seed) % (20 * S);
    }
}

static void test_model(void **state)
{
    (void)state;
    static const struct policy_limit limits[] = {{100, 21600}, {200, 21600}, {5, 60}, {5000, 86400}, {0, 60}, {-1, 21600}, {3, 3600}};
    static struct model models[KEYS];
    unsigned seed = 4711, refused = 0, back = 0;
    int64_t now = T0;
    int plan[KEYS] = {0};
    for (int i = 0; i < STEPS; i++) {
        int64_t next = jump(&seed, now);
        back += next < now;
        now = next;
        int k = rand_r(&seed) % 3 ? rand_r(&seed) % 4 : rand_r(&seed) % KEYS;
        if (rand_r(&seed) % 200 == 0)
            plan[k] = (int)((size_t)rand_r(&seed) % ARRAY_LEN(limits));
        struct policy_key key = k % 2 ? policy_key_account(k) : (struct policy_key){(uint64_t)k, POLICY_ADDRESS};
        bool count = rand_r(&seed) % 4 > 0;
        struct policy_verdict v = use(key, limits[plan[k]], now, count),
                              w = model_use(&models[k], limits[plan[k]], now, count);
        assert_int_equal(v.limited, w.limited);
        assert_int_equal(v.allowed, w.allowed);
        assert_int_equal(v.remaining, w.remaining);
        assert_int_equal(v.reset, w.reset);
        refused += !v.allowed;
    }
    assert_true(refused > 1000 && back > 1000);
}

/* After a jump back nobody waits longer than a window, and nobody gets one more. */
static void test_clock_back(void **state)
{
    (void)state;
    struct policy_limit limit = {2, 100};
    struct policy_key k = policy_key_account(7);
    assert_true(use(k, limit, T0, true).allowed);
    assert_true(use(k, limit, T0 - 1000 * S, true).allowed);
    struct policy_verdict v = use(k, limit, T0 - 1000 * S, true);
    assert_false(v.allowed);
    assert_int_equal(v.reset, T0 - 900 * S);
    assert_false(use(k, limit, T0 - 901 * S, true).allowed);
    assert_true(use(k, limit, T0 - 900 * S, true).allowed);
}

/* Clocks beyond any sense neither crash nor lock anybody out for good. */
static void test_clock_wild(void **state)
{
    (void)state;
    static const int64_t clocks[] = {INT64_MAX, 0, -1, INT64_MIN, T0, INT64_MAX / 2, T0 + 61 * S};
    struct policy_limit limit = {1000, 60};
    for (size_t i = 0; i < ARRAY_LEN(clocks); i++)
        assert_true(use(policy_key_account(9), limit, clocks[i], true).allowed);
}

/* ---- keys and texts ---- */
static void check_source(const char *addr, const char *want)
{
    char text[POLICY_TEXT_MAX];
    policy_source_text(address(addr), text);
    assert_string_equal(text, want);
}

static void test_keys(void **state)
{
    (void)state;
    char text[POLICY_TEXT_MAX];
    check_source("192.0.2.1", "192.0.2.1");
    check_source("::ffff:192.0.2.1", "192.0.2.1");
    check_source("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    check_source("[2001:db8:1:2::]", "2001:db8:1:2::");
    policy_source_text(policy_key_account(0x1234), text);
    assert_string_equal(text, "00000000-0000-0000-0000-000000001234");
    struct policy_limit one = {1, 60};
    assert_true(use(address("2001:db8:1:2::1"), one, T0, true).allowed);
    assert_false(use(address("2001:db8:1:2:ffff::9"), one, T0, true).allowed);
    assert_true(use(address("2001:db8:1:3::1"), one, T0, true).allowed);
    assert_true(use(address("192.0.2.1"), one, T0, true).allowed);
    assert_false(use(address("::ffff:192.0.2.1"), one, T0, true).allowed);
    assert_true(use(address("192.0.2.2"), one, T0, true).allowed);
    /* An account whose number is an address, and a push beside a pull, are others. */
    struct policy_key twin = policy_key_account((int64_t)address("192.0.2.1").id);
    assert_true(use(twin, one, T0, true).allowed);
    struct policy_verdict v;
    window_use(&table, twin, POLICY_PUSH, one, T0, true, &v);
    assert_true(v.allowed);
}

/* One number in one bucket: an account's pulls, its pushes, an address. */
static void test_twins(void **state)
{
    (void)state;
    windows_release(&table);
    windows_init(&table, WINDOW_PARTS);
    for (uint64_t id = 1; id <= 200; id++)
        for (int i = 0; i < 3; i++) {
            struct policy_key key = {id, i == 2 ? POLICY_ADDRESS : POLICY_ACCOUNT};
            struct policy_verdict v;
            window_use(&table, key, i == 1 ? POLICY_PUSH : POLICY_PULL, (struct policy_limit){1, 60}, T0, true, &v);
            assert_true(v.allowed);
        }
}

static void test_texts(void **state)
{
    (void)state;
    char text[POLICY_TEXT_MAX];
    struct policy_limit limit = {100, 21600};
    struct policy_key k = address("192.0.2.9");
    struct policy_verdict v = {0};
    for (int i = 0; i < 24; i++)
        v = use(k, limit, T0 + 1, true);
    policy_limit_text(&v, text);
    assert_string_equal(text, "100;w=21600");
    policy_remaining_text(&v, text);
    assert_string_equal(text, "76;w=21600");
    v = use(k, limit, T0 + 100 * S, false);
    assert_int_equal(v.remaining, 76);
    assert_int_equal(policy_retry_after(&v, T0 + 100 * S), 21500);
    assert_int_equal(policy_retry_after(&v, T0 + 21600 * S - 1), 1);
    assert_int_equal(policy_retry_after(&v, T0 + 21600 * S + 1), 1);
    struct buf b;
    buf_init(&b, 4096);
    policy_refuse_body(&v, &b);
    assert_string_equal(b.p, "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"You have reached your pull rate "
                             "limit. You may increase the limit by authenticating and upgrading: "
                             "https://www.docker.com/increase-rate-limit\"}]}");
    buf_release(&b);
    struct err err = {0};
    assert_int_equal(policy_refuse(&v, &err), ERR_TOOMANYREQUESTS);
    assert_int_equal(err_status(err.code), 429);
}

/* ---- a flood of addresses ---- */
static int64_t resident(void)
{
    long pages = 0, rss = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages, &rss), 2);
    (void)fclose(f);
    return (int64_t)rss * sysconf(_SC_PAGESIZE);
}

static void test_flood(void **state)
{
    (void)state;
    enum { FLOOD = 2000000, ACCOUNTS = 20000 };
    struct policy_limit limit = {10, 21600};
    struct policy_key used_up = address("192.0.2.1");
    for (int i = 0; i < 10; i++)
        assert_true(use(used_up, limit, T0, true).allowed);
    for (int i = 1; i <= ACCOUNTS; i++)
        for (int n = 0; n < 1 + i % 3; n++)
            assert_true(use(policy_key_account(i), limit, T0, true).allowed);
    int64_t before = 0;
    for (int i = 0; i < FLOOD; i++) {
        if (i == FLOOD / 4)
            before = resident(); /* the table is full */
        struct policy_key stranger = {UINT64_C(0x20010db8) << 32 | (uint64_t)(unsigned)i, POLICY_ADDRESS};
        struct policy_verdict v = use(stranger, limit, T0 + S, true);
        assert_true(v.allowed);
        assert_int_equal(v.remaining, 9); /* nobody else's pulls are on him */
    }
    assert_true(resident() - before < 4 << 20);
    assert_false(use(used_up, limit, T0 + 2 * S, true).allowed);
    for (int i = 1; i <= ACCOUNTS; i++)
        assert_int_equal(use(policy_key_account(i), limit, T0 + 2 * S, false).remaining, 9 - i % 3);
    /* Ended windows make room: a new address is counted in full after the flood. */
    for (int i = 0; i < 10; i++)
        assert_true(use(address("192.0.2.7"), limit, T0 + 30000 * S, true).allowed);
    assert_false(use(address("192.0.2.7"), limit, T0 + 30000 * S, true).allowed);
}

/* A bucket full of accounts: addresses pass uncounted, an account takes the least of them. */
static void test_bucket_of_accounts(void **state)
{
    (void)state;
    windows_release(&table);
    windows_init(&table, WINDOW_PARTS);
    struct policy_limit limit = {100, 3600};
    enum { MANY = 100 * WINDOW_PARTS };
    for (int i = 1; i <= MANY; i++)
        (void)use(policy_key_account(i), limit, T0, true);
    for (int i = 0; i < 300; i++)
        assert_int_equal(use(address("192.0.2.1"), (struct policy_limit){1, 3600}, T0, true).allowed, true);
    for (int i = 0; i < 100; i++)
        assert_true(use(policy_key_account(MANY + 1), limit, T0, true).allowed);
    assert_false(use(policy_key_account(MANY + 1), limit, T0, true).allowed);
}

/* ---- with a database ---- */
static struct config *config_with(const char *exempt)
{
    char flag[256];
    struct err err = {0};
    struct config *c;
    (void)snprintf(flag, sizeof flag, "--pull_exempt=%s", exempt);
    const char *flags[] = {"--data=/nonexistent", flag, NULL};
    if (config_load(&c, NULL, flags, &err) < 0)
        fail_msg("%s", err.text);
    return c;
}

static struct policy *open_policy(struct box *b)
{
    struct policy *p = NULL;
    struct config *c = config_with("");
    ok(b, policy_open(&p, b->db, c, &b->err));
    config_free(c);
    return p;
}

static int64_t left(struct policy *p, struct policy_key key, enum policy_kind kind)
{
    struct policy_verdict v;
    policy_peek(p, key, kind, (struct policy_limit){1000, 21600}, clock_now(), &v);
    return v.remaining;
}

static void pull(struct policy *p, struct policy_key key, enum policy_kind kind, int n)
{
    struct policy_verdict v;
    while (n-- > 0)
        policy_count(p, key, kind, (struct policy_limit){1000, 21600}, clock_now(), &v);
}

static void test_restart(void **state)
{
    START(b);
    box_open(&b);
    struct policy *p = open_policy(&b);
    assert_int_equal(policy_save(p, &b.err), 0); /* nothing to say, nothing written */
    for (int i = 1; i <= 1000; i++)
        pull(p, policy_key_account(i), i % 2 ? POLICY_PULL : POLICY_PUSH, i % 7 + 1);
    pull(p, address("2001:db8:1:2::3"), POLICY_PULL, 5);
    pull(p, address("192.0.2.3"), POLICY_PULL, 6);
    assert_true(policy_save(p, &b.err) > 0);
    assert_int_equal(policy_save(p, &b.err), 0);
    pull(p, policy_key_account(1), POLICY_PULL, 1);
    assert_int_equal(policy_save(p, &b.err), 1); /* only its part */
    pull(p, policy_key_account(1), POLICY_PULL, 50); /* killed before the next save */
    policy_close(p);
    box_reopen(&b);
    for (int again = 0; again < 2; again++) {
        p = open_policy(&b);
        assert_int_equal(left(p, policy_key_account(1), POLICY_PULL), 1000 - 3);
        for (int i = 2; i <= 1000; i++) {
            assert_int_equal(left(p, policy_key_account(i), i % 2 ? POLICY_PULL : POLICY_PUSH), 1000 - i % 7 - 1);
            assert_int_equal(left(p, policy_key_account(i), i % 2 ? POLICY_PUSH : POLICY_PULL), 1000);
        }
        assert_int_equal(left(p, address("2001:db8:1:2::"), POLICY_PULL), 995);
        assert_int_equal(left(p, address("192.0.2.3"), POLICY_PULL), 994);
        assert_true(policy_save(p, &b.err) > 1); /* places are others now: all parts anew */
        policy_close(p);
    }
    box_release(&b);
}

/* The thread saves by itself while it runs, and at the end. */
static void test_thread(void **state)
{
    START(b);
    box_open(&b);
    struct policy *p = open_policy(&b);
    p->save_every = S / 50;
    ok(&b, policy_start(p, &b.err));
    pull(p, policy_key_account(5), POLICY_PULL, 3);
    for (int i = 0; i < 3000 && number(&b, "SELECT count(*) FROM windows WHERE length(bytes) > 0") == 0; i++)
        usleep(10000);
    assert_int_equal(number(&b, "SELECT count(*) FROM windows WHERE length(bytes) > 0"), 1);
    policy_close(p);
    run(&b, "UPDATE windows SET part = (part + 1) % 64"); /* as a process with another hash key has it */
    p = open_policy(&b);
    ok(&b, policy_start(p, &b.err)); /* 30 s are never over here: what is saved is saved by the end */
    assert_int_equal(left(p, policy_key_account(5), POLICY_PULL), 997);
    pull(p, policy_key_account(5), POLICY_PULL, 4);
    policy_close(p);
    p = open_policy(&b);
    assert_int_equal(left(p, policy_key_account(5), POLICY_PULL), 993);
    policy_close(p);
    /* No part keeps what now stands in another. */
    assert_int_equal(number(&b, "SELECT count(*) FROM windows WHERE length(bytes) > 0"), 1);
    box_release(&b);
}

/* Two records of one key: the later end, then the higher count. Ended and senseless ones: not there. */
static void test_records(void **state)
{
    (void)state;
    struct windows other;
    struct buf one;
    struct policy_limit limit = {100, 3600};
    buf_init(&one, 1 << 20);
    for (int i = 1; i <= 50; i++)
        (void)use(policy_key_account(i), limit, T0, true);
    windows_encode(&table, 0, table.n, T0, &one);
    assert_int_equal(one.n, 50 * WINDOW_RECORD);
    for (int i = 1; i <= 50; i++)
        (void)use(policy_key_account(i), limit, T0, true);
    windows_encode(&table, 0, table.n, T0, &one);
    buf_cstr(&one, "nonsense in sixteen bytes, and some");
    windows_init(&other, WINDOW_BUCKETS);
    windows_decode(&other, buf_view(&one), T0);
    windows_decode(&other, (struct str){one.p, 50 * WINDOW_RECORD}, T0); /* older */
    buf_reset(&one);
    windows_encode(&other, 0, other.n, T0, &one);
    assert_int_equal(one.n, 50 * WINDOW_RECORD);
    windows_release(&table);
    table = other;
    for (int i = 1; i <= 50; i++)
        assert_int_equal(use(policy_key_account(i), limit, T0, false).remaining, 98);
    windows_init(&other, WINDOW_BUCKETS);
    windows_decode(&other, buf_view(&one), T0 + 3600 * S);
    buf_reset(&one);
    windows_encode(&other, 0, other.n, T0, &one);
    assert_int_equal(one.n, 0);
    windows_release(&other);
    buf_release(&one);
}

static void test_exempt(void **state)
{
    START(b);
    box_open(&b);
    struct policy *p = open_policy(&b);
    static const struct {
        const char *addr;
        bool exempt;
    } rows[] = {{"10.1.2.3", true}, {"11.1.2.3", false}, {"192.0.2.8", true}, {"192.0.2.9", false},
                {"2001:db8:7::1", true}, {"2001:db8:8::1", false}, {"::1", false}};
    struct config *c = config_with("10.0.0.0/8, 192.0.2.8,2001:db8:7::/48");
    for (int on = 0; on < 2; on++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            uint8_t addr[16];
            assert_true(address_parse(str_of(rows[i].addr), addr));
            assert_int_equal(policy_exempt(p, addr), on && rows[i].exempt);
        }
        policy_reload(p, c);
    }
    config_free(c);
    policy_close(p);
    box_release(&b);
}

/* ---- plans ---- */
struct plan_op {
    enum { ADD, CHANGE, DEFAULT, REMOVE } op;
    const char *name;
    struct plan_limits limits;
    int64_t accounts, id;
};

static int plan_run(struct db_tx *tx, void *arg, struct err *err)
{
    struct plan_op *q = arg;
    switch (q->op) {
    case ADD:
        return plan_tx_add(tx, str_of(q->name), &q->limits, &q->id, err);
    case CHANGE:
        return plan_tx_change(tx, str_of(q->name), &q->limits, err);
    case DEFAULT:
        return plan_tx_default(tx, str_of(q->name), err);
    case REMOVE:
        break;
    }
    return plan_tx_remove(tx, str_of(q->name), q->accounts, err);
}

static int plan_do(struct box *b, struct policy *p, struct plan_op *q)
{
    b->err = (struct err){0};
    int rc = db_write(b->db, plan_run, q, &b->err);
    if (rc == 0)
        ok(b, policy_plans_refresh(p, &b->err));
    return rc;
}

struct plan_get {
    const char *name;
    int64_t id;
    struct plan plan;
};

static int plan_get(struct db_tx *tx, void *arg, struct err *err)
{
    struct plan_get *q = arg;
    return q->name ? plan_tx_find(tx, str_of(q->name), &q->plan, err) : policy_tx_plan(tx, q->id, &q->plan, err);
}

static struct plan plan_named(struct box *b, const char *name)
{
    struct plan_get q = {.name = name};
    ok(b, db_read(b->db, plan_get, &q, &b->err));
    return q.plan;
}

static void test_plans_shipped(void **state)
{
    START(b);
    box_open(&b);
    struct policy *p = open_policy(&b);
    struct plan plan, free_plan = plan_named(&b, "free");
    policy_plan(p, 0, &plan);
    assert_string_equal(plan.name, "unlimited");
    assert_true(plan.site_default);
    assert_int_equal(policy_pull_limit(&plan.limits, POLICY_ADDRESS).max, -1);
    const struct plan_limits *l = &free_plan.limits;
    assert_int_equal(l->private_repos, 1);
    assert_int_equal(l->collaborators, 3);
    assert_int_equal(policy_pull_limit(l, POLICY_ADDRESS).max, 100);
    assert_int_equal(policy_pull_limit(l, POLICY_ACCOUNT).max, 200);
    assert_int_equal(policy_pull_limit(l, POLICY_ACCOUNT).window, 21600);
    assert_int_equal(policy_push_limit(l).max, 200);
    assert_int_equal(policy_push_limit(l).window, 21600);
    policy_plan(p, free_plan.id, &plan);
    assert_memory_equal(&plan.limits, l, sizeof *l);
    policy_plan(p, 4711, &plan);
    assert_string_equal(plan.name, "unlimited");
    assert_int_equal(number(&b, "SELECT count(*) FROM plans WHERE name IN ('pro', 'team', 'business')"), 3);
    policy_close(p);
    box_release(&b);
}

static void test_plans_edited(void **state)
{
    START(b);
    box_open(&b);
    struct policy *p = open_policy(&b);
    struct plan plan;
    struct plan_op add = {ADD, "lab-1", plan_named(&b, "free").limits, 0, 0}, change = add;
    assert_int_equal(plan_do(&b, p, &add), 0);
    policy_plan(p, add.id, &plan);
    assert_string_equal(plan.name, "lab-1");
    assert_int_equal(plan_do(&b, p, &add), ERR_EXISTS);
    change.op = CHANGE;
    int64_t v = 0, *field = (int64_t *)&change.limits;
    for (size_t i = 0; i < sizeof change.limits / sizeof v; i++)
        field[i] = 100 + (int64_t)i; /* each column its own */
    assert_int_equal(plan_do(&b, p, &change), 0);
    policy_plan(p, add.id, &plan);
    assert_memory_equal(&plan.limits, &change.limits, sizeof change.limits);
    assert_int_equal(plan.limits.push_window, 109);
    struct plan_op other = {DEFAULT, "lab-1", change.limits, 0, 0};
    assert_int_equal(plan_do(&b, p, &other), 0);
    policy_plan(p, 0, &plan);
    assert_int_equal(plan.id, add.id);
    assert_int_equal(number(&b, "SELECT count(*) FROM plans WHERE site_default = 1"), 1);
    other.op = REMOVE;
    assert_int_equal(plan_do(&b, p, &other), ERR_DENIED); /* the default */
    struct plan_op back = {DEFAULT, "unlimited", change.limits, 0, 0};
    assert_int_equal(plan_do(&b, p, &back), 0);
    other.accounts = 2;
    assert_int_equal(plan_do(&b, p, &other), ERR_DENIED);
    assert_non_null(strstr(b.err.text, "2 accounts"));
    other.accounts = 0;
    assert_int_equal(plan_do(&b, p, &other), 0);
    policy_plan(p, add.id, &plan);
    assert_string_equal(plan.name, "unlimited");
    assert_int_equal(plan_do(&b, p, &other), ERR_NOT_FOUND);
    policy_close(p);
    box_release(&b);
}

static void test_plans_refused(void **state)
{
    START(b);
    box_open(&b);
    struct policy *p = open_policy(&b);
    struct plan_limits good = plan_named(&b, "free").limits;
    static const char *const names[] = {"", "-a", "a-", "A", "a b", "a'b", "abcdefghijklmnopqrstuvwxyzabcdefg"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct plan_op q = {ADD, names[i], good, 0, 0};
        assert_int_equal(plan_do(&b, p, &q), ERR_INVALID);
    }
    size_t n;
    const struct plan_field *f = plan_fields(&n);
    for (size_t i = 0; i < 2 * n; i++) {
        struct plan_op q = {CHANGE, "free", good, 0, 0};
        ((int64_t *)&q.limits)[i / 2] = i % 2 ? f[i / 2].most + 1 : f[i / 2].least - 1;
        assert_int_equal(plan_do(&b, p, &q), ERR_INVALID);
        assert_non_null(strstr(b.err.text, f[i / 2].name));
    }
    struct plan_op q = {CHANGE, "unlimited", good, 0, 0};
    assert_int_equal(plan_do(&b, p, &q), ERR_DENIED);
    q.op = REMOVE;
    assert_int_equal(plan_do(&b, p, &q), ERR_DENIED);
    assert_int_equal(number(&b, "SELECT count(*) FROM plans"), 5);
    policy_close(p);
    box_release(&b);
}

#define TABLE(f) {#f, f, table_up, table_down, NULL}
int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLE(test_exact),
        TABLE(test_exact_while_places_are_taken),
        TABLE(test_model),
        TABLE(test_clock_back),
        TABLE(test_clock_wild),
        TABLE(test_keys),
        TABLE(test_twins),
        TABLE(test_texts),
        TABLE(test_flood),
        TABLE(test_bucket_of_accounts),
        TABLE(test_records),
        BOTH(test_restart),
        BOTH(test_thread),
        SQLITE(test_exempt),
        BOTH(test_plans_shipped),
        BOTH(test_plans_edited),
        BOTH(test_plans_refused),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
