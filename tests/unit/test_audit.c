/* The audit room: rows, searches and their plans, export, and the rings. */
#include "audit_box.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const struct audit_options plain = {.loops = 1};

/* ---- rows and searches ---- */
enum { N = 60 };
struct seen {
    int n;
    int64_t seq[4096], last_at, last_seq, count, max;
    bool ascending;
    const struct audit_filter *f;
    struct audit_cursor cursor;
    int page, rc;
    char text[1024];
};

static int see(void *arg, const struct audit_row *r, struct err *err)
{
    struct seen *s = arg;
    (void)err;
    if (s->n > 0 && s->ascending)
        assert_true(r->seq > s->last_seq);
    if (s->n > 0 && !s->ascending)
        assert_true(r->at < s->last_at || (r->at == s->last_at && r->seq < s->last_seq));
    s->last_at = r->at;
    s->last_seq = r->seq;
    s->count += r->count;
    if (r->count > s->max)
        s->max = r->count;
    text_copy(s->text, sizeof s->text, r->object);
    assert_true(s->n < (int)ARRAY_LEN(s->seq));
    s->seq[s->n++] = r->seq;
    return 0;
}

static int page_once(struct db_tx *tx, void *arg, struct err *err)
{
    struct seen *s = arg;
    return s->rc = audit_tx_page(tx, s->f, &s->cursor, s->page, see, s, err);
}

/* All pages of `page` rows; how many there are in all. */
static int search_all(struct abox *x, const struct audit_filter *f, int page, struct seen *s)
{
    *s = (struct seen){.f = f, .page = page};
    int turns = 0, before = 0;
    do {
        ok(&x->b, db_read(x->b.db, page_once, s, &x->b.err));
        assert_true(s->n - before <= page);
        before = s->n;
        assert_true(++turns < 3000);
    } while (s->rc == 1);
    return s->n;
}

static int add_samples(struct db_tx *tx, void *arg, struct err *err)
{
    static const char *const actions[] = {"repo.push", "repo.pull", "org.member.add"};
    (void)arg;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < N; i++) {
        char object[32];
        (void)snprintf(object, sizeof object, "acme/app%d", i % 3);
        /* Four rows have each moment: the number must break the tie. */
        rc = audit_tx_add(tx, &(struct audit_row){.at = 1000 + i / 4, .account_id = i % 2, .actor_id = i % 5,
                                                  .actor = STR_LIT("ann"), .credential_id = i,
                                                  .action = str_of(actions[i % 3]), .object = str_of(object)}, err);
    }
    return rc;
}

static void fill(struct abox *x)
{
    ok(&x->b, db_write(x->b.db, add_samples, NULL, &x->b.err));
}

static void test_search(void **state)
{
    ASTART(x, &plain);
    struct seen *s = mem_zalloc(sizeof *s);
    fill(&x);
    static const struct {
        struct audit_filter f;
        int want;
    } cases[] = {
        {{0}, N},
        {{.by = AUDIT_BY_ACCOUNT, .account_id = 1}, N / 2},
        {{.by = AUDIT_BY_ACTOR, .actor_id = 3}, N / 5},
        {{.by = AUDIT_BY_OBJECT, .object = {"acme/app2", 9}}, N / 3},
        {{.by = AUDIT_BY_OBJECT, .object = {"acme/app", 8}}, 0},
        {{.from = 1001, .to = 1003}, 8},
        {{.from = 1001}, N - 4},
        {{.to = 1001}, 4},
        {{.action = {"repo.", 5}}, N / 3 * 2},
        {{.action = {"repo", 4}}, 0},
        {{.action = {"repo.pull", 9}, .from = 1000, .to = 1003}, 4},
        {{.by = AUDIT_BY_ACTOR, .actor_id = 3, .has_account = true, .account_id = 1}, N / 10},
        {{.by = AUDIT_BY_ACCOUNT, .account_id = 1, .has_actor = true, .actor_id = 3}, N / 10},
        {{.by = AUDIT_BY_ACCOUNT, .account_id = 7}, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int page = 1; page < 8; page += 2)
            assert_int_equal(search_all(&x, &cases[i].f, page, s), cases[i].want);
        assert_int_equal(search_all(&x, &cases[i].f, 100000, s), cases[i].want);
    }
    free(s);
    AEND(x);
}

static int follow_once(struct db_tx *tx, void *arg, struct err *err)
{
    struct seen *s = arg;
    return audit_tx_follow(tx, s->last_seq, 7, see, s, err);
}

static void test_follow(void **state)
{
    ASTART(x, &plain);
    struct seen *s = mem_zalloc(sizeof *s);
    s->ascending = true;
    fill(&x);
    for (int before = -1; before < s->n;) {
        before = s->n;
        ok(&x.b, db_read(x.b.db, follow_once, s, &x.b.err));
    }
    assert_int_equal(s->n, N);
    free(s);
    AEND(x);
}

/* Bytes from outside: kept where they are clean, never in the way of the change's transaction. */
static void test_hostile(void **state)
{
    ASTART(x, &plain);
    struct seen *s = mem_zalloc(sizeof *s);
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    memcpy(longer + 510, "\xe2\x82\xac", 3); /* a character across the cap goes whole */
    static const char nasty[] = "a\0b\x1b[31m\n\xff\xc3(\xed\xa0\x80\xc2\x9b z\xc3\xa4";
    struct audit_row row = {.action = STR_LIT("t"), .object = {nasty, sizeof nasty - 1}, .client = {longer, 2000}};
    add(&x, row);
    assert_int_equal(search_all(&x, &(struct audit_filter){0}, 10, s), 1);
    assert_string_equal(s->text, "a?b?[31m??" "?(???" "?? z\xc3\xa4");
    row.object = (struct str){longer, sizeof longer};
    add(&x, row);
    assert_int_equal(search_all(&x, &(struct audit_filter){.from = 1}, 1, s), 2);
    ok(&x.b, audit_flush(x.a, &x.b.err));
    row.data = (struct str){longer, sizeof longer};
    add(&x, row);
    char big[AUDIT_DATA_MAX + 1] = {0};
    row.data = (struct str){big, sizeof big};
    assert_int_equal(db_write(x.b.db, add_one, &row, &x.b.err), ERR_TOO_LARGE);
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    free(s);
    AEND(x);
}

/* ---- plans ---- */
struct plan {
    const char *sql;
    size_t args;
    struct buf text;
};

static int explain(struct db_tx *tx, void *arg, struct err *err)
{
    struct plan *p = arg;
    const struct db_value args[] = {DB_I(5), DB_I(900), DB_I(3), DB_I(10), p->sql == NULL ? DB_N : DB_I(1)};
    const struct db_value text[] = {DB_I(5), DB_I(900), DB_I(3), DB_I(10), DB_T(STR_LIT("x"))};
    struct db_rows *rows = NULL;
    buf_reset(&p->text);
    bool object = strstr(p->sql, "object = $5") != NULL;
    int rc = db_query(tx, p->sql, object ? text : args, p->args, &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        buf_str(&p->text, db_text(rows, db_is_postgres(tx->db) ? 0 : 3));
        buf_char(&p->text, '\n');
    }
    db_rows_cleanup(&rows);
    return rc;
}

static void test_plans(void **state)
{
    ASTART(x, &plain);
    static const char *const index[] = {"audit_by_time", "audit_by_account", "audit_by_actor", "audit_by_object"};
    static char sql[4][1024]; /* statements are kept by their pointers */
    fill(&x);
    for (int i = 0; i < 4; i++) {
        struct plan p = {.sql = sql[i], .args = i == AUDIT_BY_TIME ? 4 : 5};
        bool postgres = x.b.postgres;
        buf_init(&p.text, 1 << 16);
        if (postgres) /* few rows: it would read the table */
            run(&x.b, "SELECT set_config('enable_seqscan', 'off', false)");
        (void)snprintf(sql[i], sizeof sql[i], "EXPLAIN %s%s", postgres ? "" : "QUERY PLAN ", row_pages[i]);
        ok(&x.b, postgres ? db_write(x.b.db, explain, &p, &x.b.err) : db_read(x.b.db, explain, &p, &x.b.err));
        if (strstr(p.text.p, index[i]) == NULL || strstr(p.text.p, "B-TREE") != NULL ||
            strstr(p.text.p, "Sort") != NULL || strncmp(p.text.p, postgres ? "Limit" : "SEARCH audit USING INDEX", 5) != 0 ||
            strstr(p.text.p, postgres ? "Index Cond" : "at>? AND at<") == NULL)
            fail_msg("%s\n%s", sql[i], p.text.p);
        buf_release(&p.text);
    }
    AEND(x);
}

/* ---- text ---- */
static void test_format(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 16);
    struct audit_row row = {.seq = 7, .at = 1000000, .actor = STR_LIT("=cmd|' /C calc'!A0"), .action = STR_LIT("repo.push"),
                            .object = STR_LIT("a\"b,c\n"), .client = STR_LIT("@SUM(1)"), .result = AUDIT_REFUSED,
                            .count = 3, .data = STR_LIT("{\"k\":1}"), .address = STR_LIT("-1")};
    audit_line(&b, AUDIT_CSV, &row);
    assert_string_equal(b.p, "7,1970-01-01T00:00:01.000000Z,0,0,\"'=cmd|' /C calc'!A0\",0,\"repo.push\",\"a\"\"b,c \","
                             "\"'-1\",\"'@SUM(1)\",refused,3,\"{\"\"k\"\":1}\"\r\n");
    buf_reset(&b);
    audit_line(&b, AUDIT_JSON, &row);
    assert_string_equal(b.p, "{\"seq\":7,\"at\":\"1970-01-01T00:00:01.000000Z\",\"account_id\":0,\"actor_id\":0,"
                             "\"actor\":\"=cmd|' /C calc'!A0\",\"credential_id\":0,\"action\":\"repo.push\","
                             "\"object\":\"a\\\"b,c\\n\",\"address\":\"-1\",\"client\":\"@SUM(1)\",\"result\":\"refused\","
                             "\"count\":3,\"data\":\"{\\\"k\\\":1}\"}\n");
    buf_release(&b);
}

static int count_lines(void *arg, struct str piece, struct err *err)
{
    (void)err;
    for (size_t i = 0; i < piece.n; i++)
        *(int *)arg += piece.p[i] == '\n';
    return 0;
}

static int add_many(struct db_tx *tx, void *arg, struct err *err)
{
    int rc = 0;
    for (int i = 0; rc >= 0 && i < *(int *)arg; i++)
        rc = audit_tx_add(tx, &(struct audit_row){.action = STR_LIT("x"), .actor_id = i}, err);
    return rc;
}

static void test_export(void **state)
{
    ASTART(x, &plain);
    int n = 2 * AUDIT_PAGE_MAX, lines = 0;
    ok(&x.b, db_write(x.b.db, add_many, &n, &x.b.err));
    ok(&x.b, audit_export(x.b.db, &(struct audit_filter){0}, AUDIT_JSON, count_lines, &lines, &x.b.err));
    assert_int_equal(lines, n);
    lines = 0;
    ok(&x.b, audit_export(x.b.db, &(struct audit_filter){.action = STR_LIT("y")}, AUDIT_CSV, count_lines, &lines, &x.b.err));
    assert_int_equal(lines, 1);
    AEND(x);
}

/* ---- rings ---- */
static int64_t total(struct abox *x, struct audit_filter f, struct seen *s)
{
    (void)search_all(x, &f, AUDIT_PAGE_MAX, s);
    return s->count;
}
static const struct audit_filter pulls = {.action = {"repo.pull", 9}}, lost = {.action = {"audit.overflow", 14}};

static struct audit_row pull(int i, char object[64])
{
    (void)snprintf(object, 64, "acme/app:%d", i);
    return (struct audit_row){.account_id = 3, .actor_id = 4, .actor = STR_LIT("ann"), .action = STR_LIT("repo.pull"),
                              .object = str_of(object), .address = STR_LIT("192.0.2.1"), .client = STR_LIT("docker/24")};
}

static void test_count(void **state)
{
    ASTART(x, &plain);
    struct seen *s = mem_zalloc(sizeof *s);
    char object[64];
    for (int i = 0; i < 100; i++) {
        struct audit_row row = pull(i % 2, object);
        audit_count(x.a, i < 50 ? 0 : AUDIT_SHARED, &row);
    }
    assert_int_equal(total(&x, pulls, s), 0);
    ok(&x.b, audit_flush(x.a, &x.b.err));
    assert_int_equal(total(&x, pulls, s), 100);
    assert_int_equal(s->n, 4);
    assert_int_equal(s->max, 25);
    struct audit_row row = pull(1, object); /* again alike, in the half that was written already */
    audit_count(x.a, 0, &row);
    row.result = AUDIT_REFUSED; /* not alike */
    audit_count(x.a, 0, &row);
    ok(&x.b, audit_flush(x.a, &x.b.err));
    ok(&x.b, audit_flush(x.a, &x.b.err));
    assert_int_equal(total(&x, pulls, s), 102);
    assert_int_equal(s->n, 6);
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    free(s);
    AEND(x);
}

/* Each of the two halves is used again and again; what does not fit is counted. */
static void test_overflow(void **state)
{
    static const struct audit_options small = {.loops = 1, .ring_bytes = 1};
    ASTART(x, &small);
    struct seen *s = mem_zalloc(sizeof *s);
    char object[64];
    int64_t counted = 0;
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 2000; i++, counted++) {
            struct audit_row row = pull(i, object);
            audit_count(x.a, 0, &row);
        }
        ok(&x.b, audit_flush(x.a, &x.b.err));
        int64_t kept = total(&x, pulls, s), gone = total(&x, lost, s);
        assert_int_equal(kept + gone, counted);
        assert_true(kept >= 300 * round && gone >= 300 * round);
        assert_true(s->n == round);
    }
    free(s);
    AEND(x);
}

struct busy {
    struct audit *a;
    int64_t n;
};
static void *count_busily(void *arg)
{
    struct busy *y = arg;
    for (int i = 0; i < y->n; i++) {
        char object[64];
        struct audit_row row = pull(i % 97, object);
        audit_count(y->a, 0, &row);
    }
    return NULL;
}

/* A loop at full speed and the sealer beside it, with windows that end all the time. */
static void test_concurrent(void **state)
{
    static const struct audit_options fast = {.loops = 1, .window_us = 200, .ring_bytes = 1};
    ASTART(x, &fast);
    struct seen *s = mem_zalloc(sizeof *s);
    struct busy y = {x.a, 60000};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, count_busily, &y), 0);
    for (int i = 0; i < 30; i++)
        ok(&x.b, audit_flush(x.a, &x.b.err));
    pthread_join(thread, NULL);
    ok(&x.b, audit_flush(x.a, &x.b.err));
    ok(&x.b, audit_flush(x.a, &x.b.err)); /* more than a batch may be left */
    assert_int_equal(total(&x, pulls, s) + total(&x, lost, s), y.n);
    free(s);
    AEND(x);
}

/* The thread itself writes and seals without being asked. */
static void test_thread(void **state)
{
    static const struct audit_options fast = {.loops = 1, .window_us = 1000, .seal_us = 1000};
    ASTART(x, &fast);
    struct audit_verdict v = {0};
    char object[64];
    struct audit_row row = pull(1, object);
    ok(&x.b, audit_start(x.a, &x.b.err));
    audit_count(x.a, 0, &row);
    for (int i = 0; v.rows == 0 && i < 600; i++) {
        usleep(50000);
        assert_int_equal(verdict(&x, NULL, &v), 0);
    }
    assert_int_equal(v.rows, 1);
    audit_count(x.a, 0, &row);
    audit_stop(x.a);
    assert_int_equal(verdict(&x, NULL, &v), 0);
    assert_int_equal(v.rows, 2);
    AEND(x);
}

/* ---- kills ---- */
static _Atomic int64_t *shared_count(const char *dir)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/counted", dir);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 4096) < 0)
        abort();
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

static void *flush_busily(void *arg)
{
    struct err err;
    while (audit_flush(arg, &err) == 0)
        ;
    return NULL;
}

/* The process that is killed: counts, and says what it counted; a second thread writes. */
static int victim(char **argv)
{
    static const struct audit_options fast = {.loops = 1, .window_us = 2000};
    struct abox x = {0};
    pthread_t thread;
    text_copy(x.b.dir, sizeof x.b.dir, str_of(argv[2]));
    text_copy(x.b.url, sizeof x.b.url, str_of(argv[3]));
    if (secret_setup(&x.b.err) < 0)
        return 2;
    abox_open(&x, &fast);
    _Atomic int64_t *counted = shared_count(x.b.dir);
    bool writes = strcmp(argv[4], "writes") == 0;
    if (writes && pthread_create(&thread, NULL, flush_busily, x.a) != 0)
        return 2;
    for (int i = 0;; i++) {
        char object[64];
        struct audit_row row = pull(i % 50, object);
        audit_count(x.a, 0, &row);
        atomic_fetch_add(counted, 1);
        if (writes && i % 64 == 0)
            usleep(50);
    }
}

/* Kills it after `least` events, or lets the fault point do it. What was counted is in the log, once. */
static void kill_one(struct abox *x, const char *mode, const char *fault, int64_t least)
{
    _Atomic int64_t *counted = shared_count(x->b.dir);
    struct seen *s = mem_zalloc(sizeof *s);
    int64_t from = atomic_load(counted);
    int status;
    abox_close(x);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (fault)
            (void)setenv("BERTH_FAULT", fault, 1);
        (void)execl("/proc/self/exe", "test-audit", "victim", x->b.dir, x->b.url, mode, (char *)NULL);
        _exit(127);
    }
    while (!fault && atomic_load(counted) < from + least && waitpid(pid, &status, WNOHANG) == 0)
        usleep(1000);
    if (!fault)
        (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    abox_open(x, &plain);
    int64_t told = atomic_load(counted), rows = total(x, pulls, s) + total(x, lost, s);
    if (rows < told || rows > told + 1) /* one may be counted and not yet told of */
        fail_msg("%s %s: %lld counted, %lld in the log", mode, fault ? fault : "", (long long)told, (long long)rows);
    atomic_store(counted, rows);
    ok(&x->b, audit_flush(x->a, &x->b.err));
    assert_int_equal(verdict(x, NULL, NULL), 0);
    (void)munmap((void *)(uintptr_t)counted, 4096);
    free(s);
}

static void test_kill(void **state)
{
    ASTART(x, &plain);
    kill_one(&x, "counts", NULL, 20000);
    for (int i = 0; i < 3; i++)
        kill_one(&x, "writes", NULL, 500 + 700 * i);
#ifdef BERTH_FAULTS
    kill_one(&x, "writes", "kill:db.commit:1", 0);
    kill_one(&x, "writes", "kill:db.commit.done:1", 0);
    kill_one(&x, "writes", "kill:db.commit.done:3", 0);
#endif
    AEND(x);
}

/* A process with fewer loops writes what the others left, and a damaged file stops nobody. */
static void test_left_over(void **state)
{
    static const struct audit_options four = {.loops = 4};
    ASTART(x, &four);
    struct seen *s = mem_zalloc(sizeof *s);
    char object[64], path[128];
    for (int i = 0; i < 4; i++) {
        struct audit_row row = pull(1, object);
        audit_count(x.a, i, &row);
    }
    abox_close(&x);
    (void)snprintf(path, sizeof path, "%s/audit/ring-0", x.b.dir);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "garbage", 7, 0), 7);
    close(fd);
    abox_open(&x, &plain);
    assert_int_equal(total(&x, pulls, s), 3);
    assert_int_equal(total(&x, lost, s), 1);
    (void)snprintf(path, sizeof path, "%s/audit/ring-2", x.b.dir);
    assert_int_equal(access(path, F_OK), -1);
    free(s);
    AEND(x);
}

/* ---- figures: BERTH_AUDIT_ROWS rows, in a release build ---- */
struct load {
    int64_t n, at;
};
static int add_load(struct db_tx *tx, void *arg, struct err *err)
{
    const struct load *l = arg;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < 10000; i++) {
        char object[64];
        struct audit_row row = pull(rand() % 5000, object);
        row.at = l->at + i;
        row.account_id = rand() % 1000;
        row.actor_id = rand() % 5000;
        row.data = STR_LIT("{\"digest\":\"sha256:0123456789012345678901234567890123456789012345678901234567890123\"}");
        rc = audit_tx_add(tx, &row, err);
    }
    return rc;
}

static void time_page(struct abox *x, const char *what, const struct audit_filter *f, struct seen *s)
{
    int64_t best = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        *s = (struct seen){.f = f, .page = 100};
        int64_t from = clock_mono();
        ok(&x->b, db_read(x->b.db, page_once, s, &x->b.err));
        int64_t us = clock_mono() - from;
        best = us < best ? us : best;
        if (i == 0)
            print_message("%s: %d rows, first %lld us", what, s->n, (long long)us);
    }
    print_message(", best %lld us\n", (long long)best);
}

static void test_figures(void **state)
{
    const char *rows = getenv("BERTH_AUDIT_ROWS");
    if (rows == NULL)
        skip();
    static const struct audit_options big = {.ring_bytes = 8 << 20, .loops = 1};
    ASTART(x, &big);
    struct seen *s = mem_zalloc(sizeof *s);
    char object[64];
    struct audit_row row = pull(7, object);
    int64_t from = clock_mono(), us;
    for (int i = 0; i < 1000000; i++)
        audit_count(x.a, 0, &row);
    print_message("count, alike: %lld ns each\n", (long long)(clock_mono() - from) / 1000);
    from = clock_mono();
    for (int i = 0; i < 30000; i++) {
        row = pull(i, object);
        audit_count(x.a, 0, &row);
    }
    print_message("count, all different: %lld ns each\n", (long long)(clock_mono() - from) / 30);
    ok(&x.b, audit_flush(x.a, &x.b.err));
    from = clock_mono();
    for (struct load l = {.at = 1000}; l.n < atoll(rows); l.n += 10000, l.at += 10000)
        ok(&x.b, db_write(x.b.db, add_load, &l, &x.b.err));
    us = clock_mono() - from;
    print_message("add: %.1f us a row\n", (double)us / (double)atoll(rows));
    const struct audit_filter by_time = {.from = 500000, .to = 700000}, account = {.by = AUDIT_BY_ACCOUNT, .account_id = 77},
        actor = {.by = AUDIT_BY_ACTOR, .actor_id = 77}, one = {.by = AUDIT_BY_OBJECT, .object = STR_LIT("acme/app:77")},
        both = {.by = AUDIT_BY_ACTOR, .actor_id = 77, .has_account = true, .account_id = 77},
        vain = {.action = STR_LIT("org."), .from = 1};
    time_page(&x, "time", &by_time, s);
    time_page(&x, "account", &account, s);
    time_page(&x, "actor", &actor, s);
    time_page(&x, "object", &one, s);
    time_page(&x, "actor and account", &both, s);
    time_page(&x, "action, none", &vain, s);
    from = clock_mono();
    ok(&x.b, audit_flush(x.a, &x.b.err));
    us = clock_mono() - from;
    print_message("seal: %.1f us a row\n", (double)us / (double)atoll(rows));
    from = clock_mono();
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    us = clock_mono() - from;
    print_message("verify: %.1f us a row\n", (double)us / (double)atoll(rows));
    free(s);
    AEND(x);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "victim") == 0)
        return victim(argv);
    const struct CMUnitTest tests[] = {
        BOTH(test_search), BOTH(test_follow), BOTH(test_hostile), BOTH(test_plans),
        cmocka_unit_test(test_format), BOTH(test_export), BOTH(test_count), BOTH(test_overflow),
        BOTH(test_concurrent), SQLITE(test_thread), BOTH(test_kill), SQLITE(test_left_over),
        BOTH(test_figures),
    };
    struct err err;
    if (secret_setup(&err) < 0)
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
