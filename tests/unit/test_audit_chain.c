/* The chain of the audit log against a tamperer who owns the whole database and recomputes every hash
 * that needs no key: edits, removals, insertions, reorderings, in rows and in seals. Then what only
 * an anchor finds; retention; keys. BERTH_AUDIT_TAMPERS: how many on each engine. */
#include "audit_box.h"

enum { SEALS = 4, SEAL_OF = 3, TAMPERS_SQLITE = 8500, TAMPERS_POSTGRES = 1500 };
static const struct audit_options small = {.seal_rows = SEAL_OF};

/* ---- a log ---- */
static void add_some(struct abox *x, int n)
{
    for (int i = 0; i < n; i++) {
        char object[32];
        (void)snprintf(object, sizeof object, "acme/app%d", rand() % 1000);
        add(x, (struct audit_row){.account_id = rand() % 9, .actor_id = rand() % 9, .actor = STR_LIT("ann"),
                                  .credential_id = rand(), .action = STR_LIT("repo.push"), .object = str_of(object),
                                  .address = STR_LIT("192.0.2.1"), .client = STR_LIT("docker/24"),
                                  .data = STR_LIT("{\"digest\":\"sha256:00\"}")});
    }
}

/* SEALS seals of SEAL_OF rows; among the numbers are gaps, as failed transactions leave them. */
static void make_log(struct abox *x)
{
    for (int i = 0; i < SEALS; i++) {
        add_some(x, SEAL_OF + 1);
        run(&x->b, "DELETE FROM audit WHERE seq = (SELECT max(seq) - 1 FROM audit)");
        ok(&x->b, audit_flush(x->a, &x->b.err));
    }
}

/* ---- the tamperer ---- */
#define ROW_INT(c) "UPDATE audit SET " c " = " c " + $2 WHERE seq = $1 AND $3 = $3"
#define ROW_TEXT(c) "UPDATE audit SET " c " = " c " || 'x' WHERE seq = $1 AND $2 = $2 AND $3 = $3"
#define SEAL_INT(c) "UPDATE audit_seal SET " c " = " c " + $2 WHERE id = $1 AND $3 = $3"
#define COPIED "at, account_id, actor_id, actor, credential_id, action, object, address, client, result, count, data"
/* $1 what, $2 1..3, $3 another of the kind */
static const char *const row_ops[] = {
    ROW_INT("at"), ROW_INT("account_id"), ROW_INT("actor_id"), ROW_INT("credential_id"), ROW_INT("result"),
    ROW_INT("count"), ROW_TEXT("actor"), ROW_TEXT("action"), ROW_TEXT("object"), ROW_TEXT("address"),
    ROW_TEXT("client"), ROW_TEXT("data"),
    "UPDATE audit SET actor = actor || substr(action, 1, 1), action = substr(action, 2) WHERE seq = $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit SET actor_id = account_id + 20, account_id = actor_id WHERE seq = $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit SET at = coalesce((SELECT at + 1 FROM audit WHERE seq = $3), at) WHERE seq = $1 AND $2 = $2",
    "DELETE FROM audit WHERE seq = $1 AND $2 = $2 AND $3 = $3",
    "DELETE FROM audit WHERE seq <= $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit SET seq = -seq WHERE seq = $1 AND $2 = $2 AND $3 = $3",
    "INSERT INTO audit (seq, " COPIED ") SELECT -seq - 100 * $2, " COPIED " FROM audit WHERE seq = $1 AND $3 = $3",
    /* into the gap that is in each range, the third of its four numbers */
    "INSERT INTO audit (seq, " COPIED ") SELECT ($3 + 3) / 4 * 4 - 1, " COPIED " FROM audit WHERE seq = $1 AND $2 = $2 "
    "AND NOT EXISTS (SELECT 1 FROM audit WHERE seq = ($3 + 3) / 4 * 4 - 1)",
};
static const char *const seal_ops[] = {
    SEAL_INT("kind"), SEAL_INT("at"), SEAL_INT("first"), SEAL_INT("last"), SEAL_INT("count"),
    "UPDATE audit_seal SET kind = 1, hash = prev WHERE id = $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit_seal SET key = 'x' WHERE id = $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit_seal SET sig = coalesce((SELECT sig FROM audit_seal WHERE id = 5 - $1), sig) WHERE id = $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit_seal SET hash = coalesce((SELECT hash FROM audit_seal WHERE id = 5 - $1), hash) WHERE id = $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit_seal SET prev = hash WHERE id = $1 AND $2 = $2 AND $3 = $3",
    "DELETE FROM audit_seal WHERE id = $1 AND id < 4 AND $2 = $2 AND $3 = $3",
    "DELETE FROM audit_seal WHERE id <= $1 AND id < 4 AND $2 = $2 AND $3 = $3",
    "UPDATE audit_seal SET id = id + 10 WHERE id = $1 AND $2 = $2 AND $3 = $3",
    "UPDATE audit_seal SET id = -id WHERE id = $1 AND $2 = $2 AND $3 = $3",
};
/* Two rows, or two seals, change their places. */
static const char *const swap_rows[] = {"UPDATE audit SET seq = -1 WHERE seq = $1", "UPDATE audit SET seq = $1 WHERE seq = $2",
                                        "UPDATE audit SET seq = $1 WHERE seq = -1"};
static const char *const swap_seals[] = {"UPDATE audit_seal SET id = -1 WHERE id = $1", "UPDATE audit_seal SET id = $1 WHERE id = $2",
                                         "UPDATE audit_seal SET id = $1 WHERE id = -1"};

static int swap(struct db_tx *tx, const char *const sql[3], int64_t a, int64_t b, struct err *err)
{
    int rc = db_exec(tx, sql[0], DB_ARGS(DB_I(a)), NULL, err);
    if (rc == 0)
        rc = db_exec(tx, sql[1], DB_ARGS(DB_I(a), DB_I(b)), NULL, err);
    return rc < 0 ? rc : db_exec(tx, sql[2], DB_ARGS(DB_I(b)), NULL, err);
}

static int64_t a_row(void)
{
    int64_t seq = 1 + rand() % (SEALS * (SEAL_OF + 1));
    return seq % 4 == 3 ? seq + 1 : seq;
}

static int tamper(struct db_tx *tx, struct err *err)
{
    int64_t seal = 1 + rand() % SEALS, row = a_row(), other = a_row();
    size_t turn = (size_t)rand() % (ARRAY_LEN(row_ops) + ARRAY_LEN(seal_ops) + 6);
    if (turn < ARRAY_LEN(row_ops))
        return db_exec(tx, row_ops[turn], DB_ARGS(DB_I(row), DB_I(1 + rand() % 3), DB_I(other)), NULL, err);
    turn -= ARRAY_LEN(row_ops);
    if (turn < ARRAY_LEN(seal_ops))
        return db_exec(tx, seal_ops[turn], DB_ARGS(DB_I(seal), DB_I(1 + rand() % 3), DB_I(seal)), NULL, err);
    if (turn % 2 == 0 && row != other)
        return swap(tx, swap_rows, row, other, err);
    return swap(tx, swap_seals, seal, seal % SEALS + 1, err);
}

/* Every hash anew, as if it were true, and signatures of a key of his own. */
static int recompute(struct db_tx *tx, int how, struct err *err)
{
    struct keys own = {.n = 0};
    struct seal s = {0}, prev = {0};
    uint8_t seed[32] = {7};
    int rc;
    sign_key_from_seed(&own.now, seed);
    while ((rc = seal_tx_next(tx, prev.id, &s, err)) == 1) {
        struct chain c;
        struct seal was = s;
        memcpy(s.prev, prev.hash, SEAL_HASH);
        chain_start(&c, s.prev);
        if ((rc = row_tx_range(tx, s.first, s.last, 1000, chain_row, &c, err)) < 0)
            return rc;
        s.count = c.count;
        chain_end(&c, &s, s.hash);
        if (how == 2 || how == 3)
            keys_sign(&own, &s);
        if (how == 3)
            memcpy(s.key, was.key, sizeof s.key);
        if ((rc = seal_tx_delete(tx, s.id, err)) < 0 || (rc = seal_tx_add(tx, &s, err)) < 0)
            return rc;
        prev = s;
    }
    return rc;
}

static const char ALL_SEALS[] = "SELECT id, kind, at, first, last, count, key, prev, hash, sig FROM audit_seal ORDER BY id";

static int hash_line(void *arg, const struct audit_row *row, struct err *err)
{
    struct buf line;
    (void)err;
    buf_init(&line, 1 << 16);
    audit_line(&line, AUDIT_JSON, row); /* not by the chain's bytes: they are what is tested */
    hash_update(arg, line.p, line.n);
    buf_release(&line);
    return 0;
}

/* Of all that stands in both tables. */
static int fingerprint(struct db_tx *tx, struct digest *ret, struct err *err)
{
    struct hash h;
    auto_rows struct db_rows *rows = NULL;
    hash_init(&h, DIGEST_SHA256);
    int rc = row_tx_range(tx, INT64_MIN, INT64_MAX, 1000, hash_line, &h, err);
    if (rc == 0)
        rc = db_query(tx, ALL_SEALS, DB_NO_ARGS, &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        for (int i = 0; i < 10; i++) {
            int64_t v = i < 6 ? db_int(rows, i) : 0;
            struct str s = i < 6 ? (struct str){(const char *)&v, sizeof v} : i == 6 ? db_text(rows, i) : db_bytes(rows, i);
            hash_update(&h, s.p, s.n);
        }
    }
    hash_final(&h, ret);
    return rc;
}

struct attempt {
    struct proof proof;
    int ops, how;
    unsigned seed;
    struct digest before;
    bool changed, failed;
};

static int attempt(struct db_tx *tx, void *arg, struct err *err)
{
    struct attempt *t = arg;
    struct digest after;
    int rc = 0;
    srand(t->seed);
    for (int i = 0; rc >= 0 && i < t->ops; i++)
        rc = tamper(tx, err);
    if (rc >= 0 && t->how > 0)
        rc = recompute(tx, t->how, err);
    if (rc >= 0)
        rc = fingerprint(tx, &after, err);
    t->changed = rc >= 0 && !digest_eq(&t->before, &after); /* a recomputed hash may undo a change of it */
    if (rc >= 0)
        rc = verify_tx(tx, &t->proof, err);
    t->failed = rc < 0;
    return rc < 0 ? rc : ERR_DENIED; /* all of it is undone */
}

static int look(struct db_tx *tx, void *arg, struct err *err)
{
    return fingerprint(tx, arg, err);
}

static void test_tamper(void **state)
{
    ASTART(x, &small);
    const char *wanted = getenv("BERTH_AUDIT_TAMPERS");
    int n = wanted ? atoi(wanted) : x.b.postgres ? TAMPERS_POSTGRES : TAMPERS_SQLITE, done = 0;
    struct buf report;
    buf_init(&report, 1 << 20);
    struct attempt t = {.proof = {.keys = &x.a->keys, .report = &report}};
    srand(1);
    make_log(&x);
    ok(&x.b, db_read(x.b.db, look, &t.before, &x.b.err));
    for (t.seed = 1; done < n; t.seed++) {
        assert_true(t.seed < (unsigned)n * 3);
        t.ops = 1 + (int)(t.seed / 4 % 3);
        t.how = (int)(t.seed % 4);
        /* Several changes may come to a log that is merely shorter. */
        t.proof.anchor = t.ops > 1 ? x.a->anchor : (struct seal){0};
        int rc = db_write(x.b.db, attempt, &t, &x.b.err);
        if (t.failed && rc != ERR_EXISTS) /* a number that is taken: nothing happened */
            ok(&x.b, rc);
        if (t.failed || !t.changed)
            continue;
        done++;
        if (t.proof.faults == 0)
            fail_msg("attempt %u went unseen (%d changes, hashes %d)", t.seed, t.ops, t.how);
    }
    t.ops = t.how = 0; /* and all of it left no trace */
    assert_int_equal(db_write(x.b.db, attempt, &t, &x.b.err), ERR_DENIED);
    assert_int_equal(t.proof.faults, 0);
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    buf_release(&report);
    AEND(x);
}

/* The same through the door, committed. */
static void test_tamper_committed(void **state)
{
    ASTART(x, &small);
    make_log(&x);
    run(&x.b, "UPDATE audit SET actor = 'eve' WHERE seq = 5");
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    run(&x.b, "UPDATE audit SET actor = 'ann' WHERE seq = 5");
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    run(&x.b, "DELETE FROM audit WHERE seq = 5");
    add_some(&x, 10);
    ok(&x.b, audit_flush(x.a, &x.b.err)); /* going on heals nothing */
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    run(&x.b, "UPDATE audit_seal SET last = 9223372036854775807 WHERE id = (SELECT max(id) FROM audit_seal)");
    ok(&x.b, audit_flush(x.a, &x.b.err));
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    AEND(x);
}

/* ---- what only an anchor finds ---- */
static char *anchor_of(struct abox *x, struct buf *b)
{
    buf_init(b, 4096);
    ok(&x->b, audit_anchor(x->b.db, b, &x->b.err));
    return b->p;
}

static void test_anchor(void **state)
{
    ASTART(x, &small);
    struct buf older, line;
    struct audit_verdict v;
    buf_init(&line, 4096);
    assert_int_equal(audit_anchor(x.b.db, &line, &x.b.err), ERR_NOT_FOUND);
    buf_release(&line);
    make_log(&x);
    anchor_of(&x, &older);
    make_log(&x);
    anchor_of(&x, &line);
    assert_int_equal(verdict(&x, NULL, &v), 0);
    assert_int_equal(v.seals, 2 * SEALS);
    assert_int_equal(v.rows, 2 * SEALS * SEAL_OF);
    assert_int_equal(verdict(&x, line.p, NULL), 0);
    assert_int_equal(verdict(&x, older.p, NULL), 0);
    run(&x.b, "DELETE FROM audit_seal WHERE id > 6");
    assert_int_equal(verdict(&x, NULL, NULL), 1); /* by the one that the sealer keeps */
    assert_int_equal(verdict(&x, older.p, NULL), 0);
    run(&x.b, "DELETE FROM audit WHERE seq > 24");
    assert_int_equal(verdict(&x, line.p, NULL), 1);
    add_some(&x, 4 * SEAL_OF); /* the server goes on and seals over it, under its true key */
    ok(&x.b, audit_flush(x.a, &x.b.err));
    assert_int_equal(verdict(&x, line.p, NULL), 1);
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    drop_kept_anchor(&x);
    assert_int_equal(verdict(&x, NULL, NULL), 0); /* sound in itself: that is why there are anchors */
    assert_int_equal(verdict(&x, line.p, NULL), 1);
    run(&x.b, "DELETE FROM audit_seal");
    run(&x.b, "DELETE FROM audit");
    assert_int_equal(verdict(&x, line.p, NULL), 1);
    buf_release(&older);
    buf_release(&line);
    AEND(x);
}

/* Two histories, each truly signed, spliced: the later half of one behind the other. */
static void test_splice(void **state)
{
    ASTART(x, &small);
    make_log(&x);
    run(&x.b, "CREATE TABLE kept_seal AS SELECT * FROM audit_seal WHERE id = 4");
    run(&x.b, "CREATE TABLE kept AS SELECT * FROM audit WHERE seq > 12");
    run(&x.b, "DELETE FROM audit_seal WHERE id > 2");
    run(&x.b, "DELETE FROM audit WHERE seq > 8");
    run(&x.b, "UPDATE sqlite_sequence SET seq = 8 WHERE name = 'audit'");
    drop_kept_anchor(&x);
    abox_close(&x);
    abox_open(&x, &small);
    add_some(&x, SEAL_OF + 1);
    run(&x.b, "DELETE FROM audit WHERE seq = 11");
    ok(&x.b, audit_flush(x.a, &x.b.err));
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    run(&x.b, "INSERT INTO audit_seal SELECT * FROM kept_seal");
    run(&x.b, "INSERT INTO audit SELECT * FROM kept");
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    AEND(x);
}

static void test_forged_anchor(void **state)
{
    ASTART(x, &small);
    struct buf line, report;
    struct audit_verdict v;
    buf_init(&report, 4096);
    make_log(&x);
    anchor_of(&x, &line);
    for (size_t i = 0; i < line.n; i++) {
        char was = line.p[i];
        line.p[i] = was == '0' ? '1' : '0';
        if (audit_verify(x.b.db, x.store, buf_view(&line), NULL, NULL, &v, &report, &x.b.err) != ERR_INVALID)
            fail_msg("taken: %s", line.p);
        line.p[i] = was;
    }
    assert_int_equal(audit_verify(x.b.db, x.store, STR_LIT("x"), NULL, NULL, &v, &report, &x.b.err), ERR_INVALID);
    assert_int_equal(verdict(&x, line.p, NULL), 0);
    buf_release(&line);
    buf_release(&report);
    AEND(x);
}

/* ---- retention ---- */
static int64_t expire(struct abox *x, int64_t before)
{
    int64_t rows = -1;
    ok(&x->b, audit_expire(x->a, before, &rows, &x->b.err));
    return rows;
}

static void test_expire(void **state)
{
    ASTART(x, &small);
    struct buf first;
    struct audit_verdict v;
    assert_int_equal(expire(&x, INT64_MAX), 0);
    make_log(&x);
    anchor_of(&x, &first);
    int64_t middle = clock_now();
    make_log(&x);
    assert_int_equal(expire(&x, 1), 0);
    assert_int_equal(expire(&x, middle), SEALS * SEAL_OF);
    assert_int_equal(verdict(&x, NULL, &v), 0);
    assert_int_equal(v.expired, SEALS * SEAL_OF);
    assert_int_equal(v.rows, SEALS * SEAL_OF);
    assert_int_equal(verdict(&x, first.p, NULL), 0); /* of the last range that went */
    assert_int_equal(expire(&x, INT64_MAX), (SEALS - 1) * SEAL_OF); /* never the newest */
    assert_int_equal(expire(&x, INT64_MAX), 0);
    assert_int_equal(verdict(&x, NULL, &v), 0);
    assert_int_equal(v.expired, (2 * SEALS - 1) * SEAL_OF);
    assert_int_equal(v.seals, 2);
    assert_int_equal(verdict(&x, first.p, NULL), 0);
    assert_int_equal(number(&x.b, "SELECT count(*) FROM audit"), SEAL_OF);
    run(&x.b, "INSERT INTO audit (seq, " COPIED ") SELECT 2, " COPIED " FROM audit WHERE seq > 28 LIMIT 1");
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    run(&x.b, "DELETE FROM audit WHERE seq = 2");
    run(&x.b, "UPDATE audit_seal SET count = count + 1 WHERE kind = 1");
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    run(&x.b, "DELETE FROM audit_seal WHERE kind = 1");
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    buf_release(&first);
    AEND(x);
}

/* A tombstone must not cover a forgery, nor can the tamperer write one. */
static void test_expire_refuses(void **state)
{
    ASTART(x, &small);
    int64_t rows;
    make_log(&x);
    run(&x.b, "UPDATE audit SET actor = 'eve' WHERE seq = 5");
    assert_int_equal(audit_expire(x.a, INT64_MAX, &rows, &x.b.err), ERR_CORRUPT);
    assert_int_equal(number(&x.b, "SELECT count(*) FROM audit"), (SEALS - 1) * SEAL_OF);
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    run(&x.b, "UPDATE audit SET actor = 'ann' WHERE seq = 5");
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    run(&x.b, "DELETE FROM audit WHERE seq < 12");
    run(&x.b, "DELETE FROM audit_seal WHERE id < 3");
    run(&x.b, "UPDATE audit_seal SET kind = 1, first = 1 WHERE id = 3");
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    AEND(x);
}

/* ---- keys ---- */
static void test_keys(void **state)
{
    ASTART(x, &small);
    struct buf file, pub;
    make_log(&x);
    ok(&x.b, audit_rotate(x.a, &x.b.err));
    make_log(&x);
    assert_int_equal(number(&x.b, "SELECT count(DISTINCT key) FROM audit_seal"), 2);
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    buf_init(&file, 1 << 16);
    buf_init(&pub, 1 << 16);
    ok(&x.b, store_key_read(x.store, "audit.keys", &file, &x.b.err));
    ok(&x.b, audit_keys_public(x.store, &pub, &x.b.err));
    const char *seed = strstr(file.p, "seed ");
    assert_non_null(seed);
    assert_null(strstr(pub.p, "seed"));
    assert_null(memmem(pub.p, pub.n, seed + 5, 64)); /* not even under another name */
    assert_int_equal(pub.n, 2 * 72);
    /* Restored from a backup: it checks, and signs with a third key. */
    ok(&x.b, store_key_write(x.store, "audit.keys", buf_view(&pub), &x.b.err));
    abox_close(&x);
    abox_open(&x, &small);
    make_log(&x);
    assert_int_equal(number(&x.b, "SELECT count(DISTINCT key) FROM audit_seal"), 3);
    assert_int_equal(verdict(&x, NULL, NULL), 0);
    /* Another hub's keys believe nothing of it. */
    drop_kept_anchor(&x);
    ok(&x.b, store_key_write(x.store, "audit.keys", (struct str){seed, 70}, &x.b.err));
    assert_int_equal(verdict(&x, NULL, NULL), 1);
    ok(&x.b, store_key_write(x.store, "audit.keys", STR_LIT("seed 12"), &x.b.err));
    struct audit_verdict v;
    assert_int_equal(audit_verify(x.b.db, x.store, STR_LIT(""), NULL, NULL, &v, &pub, &x.b.err), ERR_INVALID);
    buf_release(&file);
    buf_release(&pub);
    AEND(x);
}

/* ---- a backup ---- */
struct dump {
    struct buf text;
    size_t at;
};
static int keep(void *arg, struct str line, struct err *err)
{
    struct dump *d = arg;
    (void)err;
    buf_str(&d->text, line);
    buf_char(&d->text, '\n');
    return 0;
}
static int give(void *arg, struct str *ret_line, struct err *err)
{
    struct dump *d = arg;
    (void)err;
    if (d->at >= d->text.n)
        return 0;
    const char *from = d->text.p + d->at;
    *ret_line = (struct str){from, (size_t)((const char *)memchr(from, '\n', d->text.n - d->at) - from)};
    d->at += ret_line->n + 1;
    return 1;
}

/* Loaded into the other engine, where there is one, the log is the same to the byte, and goes on. */
static void test_restored(void **state)
{
    ASTART(x, &small);
    struct dump d = {.at = 0};
    struct abox y = {0};
    buf_init(&d.text, 16 << 20);
    make_log(&x);
    add_some(&x, 1);
    ok(&x.b, db_dump(x.b.db, keep, &d, &x.b.err));
    box_init(&y.b, !x.b.postgres && getenv("BERTH_TEST_DATABASE") != NULL);
    ok(&y.b, db_load(y.b.dir, y.b.url, str_of(store_id(x.store)), give, &d, &y.b.err));
    y.store = x.store;
    audit_free(take(&x.a));
    abox_open(&y, &small);
    assert_int_equal(verdict(&y, NULL, NULL), 0);
    add_some(&y, SEAL_OF);
    ok(&y.b, audit_flush(y.a, &y.b.err));
    struct audit_verdict v;
    assert_int_equal(verdict(&y, NULL, &v), 0);
    assert_int_equal(v.rows, SEALS * SEAL_OF + 1 + SEAL_OF);
    y.store = NULL; /* x closes it */
    AEND(y);
    buf_release(&d.text);
    AEND(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_tamper),  BOTH(test_tamper_committed), BOTH(test_anchor), SQLITE(test_splice),
        SQLITE(test_forged_anchor),
        BOTH(test_expire), BOTH(test_expire_refuses),   BOTH(test_keys),
        BOTH(test_restored),
    };
    struct err err;
    if (secret_setup(&err) < 0)
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
