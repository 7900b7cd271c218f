/* See upkeep_box.h. */
#include "upkeep_box.h"
#include "memory.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

const char BOX_REPO[] = "team/app";

static void admin(const char *fmt, const char *arg)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql, "%s %s", fmt, arg);
    PGconn *c = PQconnectdb(getenv("BERTH_TEST_DATABASE"));
    PQclear(PQexec(c, "SET client_min_messages = error"));
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
}

void ok(const struct box *b, int rc)
{
    if (rc < 0)
        fail_msg("%s: %s", err_name(b->err.code), b->err.text);
}

static void open_all(struct box *b)
{
    char url[512] = "", flag[96];
    const char *base = getenv("BERTH_TEST_DATABASE");
    if (base)
        (void)snprintf(url, sizeof url, "%s%coptions=-csearch_path%%3D%s", base,
                       strchr(base, '?') ? '&' : '?', b->schema);
    (void)snprintf(flag, sizeof flag, "--data=%s", b->dir);
    const char *flags[] = {flag, "--gc_delay=0", "--gc_grace=0", NULL};
    ok(b, config_load(&b->config, NULL, flags, &b->err));
    ok(b, store_open(&b->store, b->dir, true, &b->err));
    ok(b, db_open(&b->db, b->dir, url, 8, true, &b->err));
    struct registry_options o = {
        .db = b->db, .store = b->store, .config = b->config, .loops = 1, .cache_bytes = 1 << 20};
    ok(b, registry_new(&b->g, &o, &b->err));
}

static void close_all(struct box *b)
{
    registry_free(b->g);
    db_close(b->db);
    store_close(b->store);
    config_free(b->config);
}

void box_init(struct box *b)
{
    static int count;
    memset(b, 0, sizeof *b);
    (void)snprintf(b->dir, sizeof b->dir, "%s/berth-test-gc-XXXXXX", memory_dir());
    assert_non_null(mkdtemp(b->dir));
    if (getenv("BERTH_TEST_DATABASE")) {
        (void)snprintf(b->schema, sizeof b->schema, "berth_gc_%d_%d", (int)getpid(), ++count);
        admin("CREATE SCHEMA", b->schema);
    }
    open_all(b);
    b->repo = box_repo(b, BOX_REPO);
}

void box_reopen(struct box *b)
{
    close_all(b);
    open_all(b);
}

void box_release(struct box *b)
{
    char cmd[128];
    close_all(b);
    if (b->schema[0]) {
        (void)snprintf(cmd, sizeof cmd, "%s CASCADE", b->schema);
        admin("DROP SCHEMA", cmd);
    }
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", b->dir);
    assert_int_equal(system(cmd), 0);
}

void box_set_key(struct box *b, enum config_index key, int64_t value)
{
    atomic_store(&b->g->num[key], value);
    gc_setup(b->g);
}

/* ---- statements ---- */
struct statement {
    const char *sql;
    const struct db_value *args;
    size_t n;
    int64_t out;
    bool found;
};

static void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

static int exec_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct statement *s = arg;
    return db_exec(tx, s->sql, s->args, s->n, NULL, err);
}

static int int_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct statement *s = arg;
    int rc = db_one(tx, s->sql, s->args, s->n, map_int, &s->out, err);
    s->found = rc == 1;
    return rc < 0 ? rc : 0;
}

void box_exec(struct box *b, const char *sql, const struct db_value *args, size_t n)
{
    struct statement s = {.sql = sql, .args = args, .n = n};
    ok(b, db_write(b->db, exec_write, &s, &b->err));
}

int64_t box_int(struct box *b, const char *sql, const struct db_value *args, size_t n)
{
    struct statement s = {.sql = sql, .args = args, .n = n};
    ok(b, db_read(b->db, int_read, &s, &b->err));
    return s.found ? s.out : -1;
}

int64_t box_repo(struct box *b, const char *name)
{
    static const char NAMESPACE[] = "INSERT INTO namespaces (name, created_at) VALUES ($1, 0)";
    static const char REPO[] =
        "INSERT INTO repos (namespace_id, name, public, created_at) VALUES ((SELECT max(id) FROM "
        "namespaces), $1, 0, 0)";
    static const char ID[] = "SELECT id FROM repos WHERE name = $1";
    box_exec(b, NAMESPACE, DB_ARGS(DB_T(str_of(name))));
    box_exec(b, REPO, DB_ARGS(DB_T(str_of(name))));
    return box_int(b, ID, DB_ARGS(DB_T(str_of(name))));
}

static bool any(struct box *b, const char *sql, const struct digest *d)
{
    uint8_t key[DIGEST_KEY_MAX];
    return box_int(b, sql, DB_ARGS(DB_B(key_str(d, key)))) > 0;
}

bool box_linked(struct box *b, int64_t repo, const struct digest *d)
{
    static const char SQL[] = "SELECT count(*) FROM repo_blobs WHERE repo_id = $1 AND digest = $2";
    uint8_t key[DIGEST_KEY_MAX];
    return box_int(b, SQL, DB_ARGS(DB_I(repo), DB_B(key_str(d, key)))) > 0;
}

bool box_has_row(struct box *b, const struct digest *d)
{
    static const char SQL[] = "SELECT count(*) FROM blobs WHERE digest = $1";
    return any(b, SQL, d);
}

bool box_has_trash(struct box *b, const struct digest *d)
{
    static const char SQL[] = "SELECT count(*) FROM trash WHERE digest = $1";
    return any(b, SQL, d);
}

bool box_has_manifest(struct box *b, const struct digest *d)
{
    static const char SQL[] = "SELECT count(*) FROM manifests WHERE digest = $1";
    return any(b, SQL, d);
}

int64_t box_queue(struct box *b, int kind, int64_t repo, const struct digest *d)
{
    static const char SQL[] =
        "SELECT review_after FROM gc_queue WHERE kind = $1 AND repo_id = $2 AND digest = $3";
    uint8_t key[DIGEST_KEY_MAX];
    return box_int(b, SQL, DB_ARGS(DB_I(kind), DB_I(repo), DB_B(key_str(d, key))));
}

/* ---- pushing ---- */
struct commit {
    int64_t repo;
    struct digest digest;
    struct blob_stat stat;
};

static int commit_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct commit *c = arg;
    int rc = blob_tx_upsert(tx, &c->digest, &c->stat, err);
    return rc < 0 ? rc : blob_tx_link(tx, c->repo, &c->digest, "upload", err);
}

int push_blob(struct registry *g, int64_t repo, const char *content, struct digest *ret,
              struct err *err)
{
    char id[UPLOAD_ID_LEN + 1];
    struct commit c = {.repo = repo};
    struct staging *file;
    secret_random_hex(id, UPLOAD_ID_LEN / 2);
    hash_bytes(DIGEST_SHA256, content, strlen(content), &c.digest);
    int rc = staging_create(g->store, id, &file, err);
    if (rc < 0 || (rc = staging_append(file, content, strlen(content), err)) < 0)
        return rc;
    store_lock(g->store, &c.digest);
    rc = staging_publish(file, &c.digest, &c.stat, err);
    if (rc == 0)
        rc = db_write(g->db, commit_write, &c, err);
    store_unlock(g->store, &c.digest);
    staging_close(file);
    *ret = c.digest;
    return rc;
}

struct digest box_blob(struct box *b, int64_t repo, const char *content)
{
    struct digest d;
    ok(b, push_blob(b->g, repo, content, &d, &b->err));
    return d;
}

struct put {
    struct manifest_put row;
    int64_t missing, at;
};

static int put_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct put *q = arg;
    int rc = manifest_tx_put(tx, &q->row, &q->missing, err);
    q->at = clock_mono();
    return rc;
}

static void descriptor(struct buf *b, const char *type, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    buf_printf(b, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":3}", type,
               digest_text(d, text));
}

static void manifest_text(struct buf *b, const struct put_manifest *p)
{
    buf_printf(b, "{\"schemaVersion\":2,\"mediaType\":\"%s\",", p->child ? TYPE_INDEX : TYPE_IMAGE);
    buf_cstr(b, p->child ? "\"manifests\":[" : "\"config\":");
    descriptor(b, p->child ? TYPE_IMAGE : "application/vnd.oci.image.config.v1+json",
               p->child ? p->child : p->blob);
    buf_cstr(b, p->child ? "]" : ",\"layers\":[]");
    if (p->subject) {
        buf_cstr(b, ",\"subject\":");
        descriptor(b, TYPE_IMAGE, p->subject);
    }
    buf_printf(b, ",\"annotations\":{\"salt\":\"%s\"}}", p->salt ? p->salt : "");
}

int put_manifest(struct registry *g, const struct put_manifest *p, struct digest *ret,
                 int64_t *ret_missing, int64_t *ret_at, struct err *err)
{
    struct arena a;
    struct buf text;
    struct str tag = str_of(p->tag);
    arena_init(&a);
    buf_init(&text, 1 << 16);
    manifest_text(&text, p);
    struct manifest *model = arena_zalloc(&a, sizeof *model);
    struct put q = {.row = {.repo_id = p->repo, .model = model, .bytes = buf_view(&text)}};
    q.row.tags = &tag;
    q.row.n_tags = p->tag ? 1 : 0;
    hash_bytes(DIGEST_SHA256, text.p, text.n, &q.row.digest);
    int rc = manifest_parse(&a, q.row.bytes, str_of(p->child ? TYPE_INDEX : TYPE_IMAGE), 4u << 20,
                            model, err);
    if (rc == 0)
        rc = repo_write(g, str_of(BOX_REPO), put_write, &q, err);
    *ret = q.row.digest;
    if (ret_missing)
        *ret_missing = q.missing;
    if (ret_at)
        *ret_at = q.at;
    buf_release(&text);
    arena_release(&a);
    return rc;
}

struct digest box_manifest(struct box *b, struct put_manifest p)
{
    struct digest d;
    if (!p.repo)
        p.repo = b->repo;
    ok(b, put_manifest(b->g, &p, &d, NULL, NULL, &b->err));
    return d;
}

struct del {
    int64_t repo;
    struct digest digest;
    struct str tag;
};

static int delete_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct del *q = arg;
    return q->tag.n > 0 ? tag_tx_delete(tx, q->repo, q->tag, 1, err)
                        : manifest_tx_delete(tx, q->repo, &q->digest, 1, err);
}

int delete_manifest(struct registry *g, int64_t repo, const struct digest *d, struct err *err)
{
    struct del q = {.repo = repo, .digest = *d};
    return repo_write(g, str_of(BOX_REPO), delete_write, &q, err);
}

void box_delete(struct box *b, const struct digest *d)
{
    ok(b, delete_manifest(b->g, b->repo, d, &b->err));
}

void box_untag(struct box *b, const char *tag)
{
    struct del q = {.repo = b->repo, .tag = str_of(tag)};
    ok(b, repo_write(b->g, str_of(BOX_REPO), delete_write, &q, &b->err));
}

/* ---- files ---- */
const char *box_path(const struct box *b, const char *where, const struct digest *d, char out[320])
{
    char hex[129];
    hex_encode(hex, d->bytes, d->len);
    const char *alg = digest_alg_name((enum digest_alg)d->alg);
    if (strcmp(where, "blobs") == 0)
        (void)snprintf(out, 320, "%s/blobs/%s/%.2s/%s", b->dir, alg, hex, hex);
    else
        (void)snprintf(out, 320, "%s/%s/%s-%s", b->dir, where, alg, hex);
    return out;
}

bool box_has_file(const struct box *b, const char *where, const struct digest *d)
{
    char path[320];
    return access(box_path(b, where, d, path), F_OK) == 0;
}

void box_write_file(const struct box *b, const char *where, const struct digest *d,
                    const char *text)
{
    char path[320];
    FILE *f = fopen(box_path(b, where, d, path), "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* ---- collecting ---- */
struct gc_run box_pass(struct box *b, int64_t due)
{
    struct gc_run run = {.g = b->g, .due = due, .max = SIZE_MAX};
    ok(b, gc_pass(&run, &b->err));
    return run;
}

void box_collect(struct box *b)
{
    struct gc_run run = {.g = b->g, .due = INT64_MAX, .by_key = true, .max = SIZE_MAX};
    int64_t before;
    do {
        before = run.deleted;
        ok(b, gc_pass(&run, &b->err));
    } while (run.deleted > before);
}
