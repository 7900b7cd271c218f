/* Upload sessions in memory: the claim, limits, cancelling and the reaper. */
#include "registry/upload.h"

#include <pthread.h>
#include <stdlib.h>

enum { BUCKETS = 4096, USER_BUCKETS = 256, COUNT_FRESH_US = 1000000, REAP_BATCH = 64 };

/* Sessions of one user: those in memory without a row, and rows as counted some moments ago. */
struct user_count {
    struct user_count *next;
    int64_t user_id, memory, rows, counted_at;
};

struct upload_table {
    pthread_mutex_t lock;
    struct upload *buckets[BUCKETS];
    struct user_count *users[USER_BUCKETS];
};

static bool id_valid(struct str id)
{
    uint8_t raw[UPLOAD_ID_LEN / 2];
    return id.n == UPLOAD_ID_LEN && hex_decode(raw, id) == 0;
}

static int unknown(struct err *err)
{
    return err_set(err, ERR_BLOB_UPLOAD_UNKNOWN, "upload session unknown: start again with POST");
}

static struct upload **slot(struct upload_table *t, struct str id)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < id.n; i++)
        h = (h ^ (uint8_t)id.p[i]) * 16777619u;
    struct upload **at = &t->buckets[h % BUCKETS];
    while (*at && !str_is(id, (*at)->id))
        at = &(*at)->next;
    return at;
}

static struct user_count *user_of(struct upload_table *t, int64_t user_id)
{
    struct user_count **at = &t->users[(uint64_t)user_id % USER_BUCKETS];
    while (*at && (*at)->user_id != user_id)
        at = &(*at)->next;
    if (!*at) {
        *at = mem_zalloc(sizeof **at);
        (*at)->user_id = user_id;
    }
    return *at;
}

static void upload_free(struct upload *u)
{
    free(u->name);
    free(u);
}

struct count_read {
    int64_t user_id, n;
};

static int count_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct count_read *q = arg;
    return upload_tx_count(tx, q->user_id, &q->n, err);
}

int upload_table_new(struct registry *g, struct err *err)
{
    struct count_read q = {0, 0};
    int rc = db_read(g->db, count_read, &q, err);
    if (rc < 0)
        return rc;
    metric_set(METRIC_UPLOADS_OPEN, q.n);
    struct err why = {0};
    if (registry_num(g, READ_ONLY) == 0 && charge_release(g, true, &why) < 0)
        log_line(LOG_WARN, "bytes reserved for lost uploads not released yet", F_CSTR("error", why.text));
    g->uploads = mem_zalloc(sizeof *g->uploads);
    pthread_mutex_init(&g->uploads->lock, NULL);
    return 0;
}

void upload_table_free(struct registry *g)
{
    struct upload_table *t = g->uploads;
    if (!t)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (t->buckets[i]) {
            struct upload *u = t->buckets[i];
            t->buckets[i] = u->next;
            upload_free(u);
        }
    }
    for (size_t i = 0; i < USER_BUCKETS; i++) {
        while (t->users[i]) {
            struct user_count *c = t->users[i];
            t->users[i] = c->next;
            free(c);
        }
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
    g->uploads = NULL;
}

/* Rows are counted at most once a second for each user, and before a refusal: the limit is a fuse, not
 * a quota. */
static int check_limit(struct registry *g, int64_t user_id, struct err *err)
{
    struct upload_table *t = g->uploads;
    int64_t now = clock_mono(), limit = registry_num(g, MAX_UPLOADS_PER_USER);
    pthread_mutex_lock(&t->lock);
    struct user_count *c = user_of(t, user_id);
    bool fresh = c->counted_at > 0 && now - c->counted_at < COUNT_FRESH_US;
    int64_t open = c->memory + c->rows;
    pthread_mutex_unlock(&t->lock);
    if (!fresh || open >= limit) {
        struct count_read q = {user_id, 0};
        int rc = db_read(g->db, count_read, &q, err);
        if (rc < 0)
            return rc;
        pthread_mutex_lock(&t->lock);
        c = user_of(t, user_id);
        c->rows = q.n;
        c->counted_at = now;
        open = c->memory + c->rows;
        pthread_mutex_unlock(&t->lock);
    }
    if (open >= limit)
        return err_set(err, ERR_TOOMANYREQUESTS,
                       "%lld upload sessions are open, allowed are %lld: finish or cancel some",
                       (long long)open, (long long)limit);
    return 0;
}

int upload_new(struct registry *g, struct str name, int64_t user_id, enum digest_alg alg,
               bool claimed, struct upload **ret, char ret_id[UPLOAD_ID_LEN + 1], struct err *err)
{
    int rc = check_limit(g, user_id, err);
    if (rc < 0)
        return rc;
    struct upload *u = mem_zalloc(sizeof *u);
    secret_random_hex(u->id, UPLOAD_ID_LEN / 2);
    u->name = mem_strndup(name.p, name.n);
    u->user_id = user_id;
    u->alg = alg;
    u->created = u->touched = clock_now();
    u->hashed = true;
    u->busy = claimed;
    hash_init(&u->hash, alg);
    memcpy(ret_id, u->id, sizeof u->id);
    pthread_mutex_lock(&g->uploads->lock);
    struct upload **at = slot(g->uploads, str_of(u->id));
    BUG_ON(*at);
    *at = u;
    user_of(g->uploads, user_id)->memory++;
    pthread_mutex_unlock(&g->uploads->lock);
    metric_gauge_add(METRIC_UPLOADS_OPEN, 1);
    if (ret)
        *ret = u;
    return 0;
}

struct find_read {
    const char *id;
    struct upload_row row;
    bool found;
};

static int find_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct find_read *q = arg;
    int rc = upload_tx_find(tx, q->id, &q->row, err);
    q->found = rc == 1;
    return rc < 0 ? rc : 0;
}

/* Takes the session out of the table; with the table's lock held. */
static void forget(struct upload_table *t, struct upload *u)
{
    struct upload **at = slot(t, str_of(u->id));
    BUG_ON(*at != u);
    *at = u->next;
    if (!u->row)
        user_of(t, u->user_id)->memory--;
}

/* A claimed place in the table stands for the row while it is read. */
static int load(struct registry *g, struct upload *u, struct str name, int64_t user_id,
                struct err *err)
{
    struct find_read q = {.id = u->id};
    int rc = db_read(g->db, find_read, &q, err);
    if (rc < 0)
        return rc;
    if (!q.found || q.row.user_id != user_id || !str_is(name, q.row.name))
        return unknown(err);
    u->alg = q.row.alg == DIGEST_SHA512 ? DIGEST_SHA512 : DIGEST_SHA256;
    u->size = q.row.size;
    u->created = q.row.created;
    hash_init(&u->hash, u->alg);
    u->hashed =
        q.row.state_n > 0 &&
        hash_import(&u->hash, (struct str){(const char *)q.row.state, q.row.state_n}) == 0 &&
        u->hash.alg == u->alg && u->hash.bytes == (uint64_t)u->size;
    return 0;
}

int upload_claim(struct registry *g, struct str id, struct str name, int64_t user_id,
                 struct upload **ret, struct err *err)
{
    if (!id_valid(id))
        return unknown(err);
    struct upload_table *t = g->uploads;
    pthread_mutex_lock(&t->lock);
    struct upload **at = slot(t, id), *u = *at;
    bool mine = !u || (u->user_id == user_id && str_is(name, u->name));
    bool busy = u && u->busy;
    if (mine && !busy) {
        if (!u) {
            u = *at = mem_zalloc(sizeof *u);
            memcpy(u->id, id.p, id.n);
            u->name = mem_strndup(name.p, name.n);
            u->user_id = user_id;
            u->row = u->file = true;
        }
        u->busy = true;
    }
    bool must_load = mine && !busy && u->row;
    pthread_mutex_unlock(&t->lock);
    if (!mine)
        return unknown(err);
    if (busy)
        return err_set(err, ERR_UPLOAD_RANGE, "another request is writing to this upload session");
    int rc = must_load ? load(g, u, name, user_id, err) : 0;
    if (rc < 0) {
        pthread_mutex_lock(&t->lock);
        forget(t, u);
        pthread_mutex_unlock(&t->lock);
        upload_free(u);
        return rc;
    }
    *ret = u;
    return 0;
}

static int delete_write(struct db_tx *tx, void *arg, struct err *err)
{
    return upload_tx_delete(tx, arg, err);
}

/* Row first: a file without a row is reaped, a row without a file is a session that cannot go on.
 */
static int drop(struct registry *g, char *id, bool row, bool file, struct err *err)
{
    int rc = row ? db_write(g->db, delete_write, id, err) : 0;
    if (rc == 0 && file)
        rc = staging_remove(g->store, id, err);
    return rc;
}

bool upload_unclaim(struct registry *g, struct upload *u, bool gone)
{
    struct upload_table *t = g->uploads;
    pthread_mutex_lock(&t->lock);
    bool cancelled = u->cancelled && !gone, ended = gone || cancelled || u->one_shot;
    u->busy = false;
    u->touched = clock_now();
    /* A session with a row needs no memory while nobody works on it. */
    bool leave = ended || u->row;
    if (leave)
        forget(t, u);
    pthread_mutex_unlock(&t->lock);
    if (ended)
        metric_gauge_add(METRIC_UPLOADS_OPEN, -1);
    struct err err = {0};
    if (cancelled && drop(g, u->id, u->row || u->reserved, u->file, &err) < 0)
        log_line(LOG_WARN, "cancelled upload not removed yet", F_CSTR("error", err.text));
    if (leave)
        upload_free(u);
    return cancelled;
}

void upload_saved(struct registry *g, struct upload *u, int64_t size, const struct hash *h)
{
    pthread_mutex_lock(&g->uploads->lock);
    if (!u->row) {
        struct user_count *c = user_of(g->uploads, u->user_id);
        c->memory--;
        c->rows++;
    }
    u->row = u->file = u->hashed = true;
    u->size = size;
    u->hash = *h;
    u->alg = h->alg;
    pthread_mutex_unlock(&g->uploads->lock);
}

int upload_peek(struct registry *g, struct str id, struct str name, int64_t user_id,
                int64_t *ret_size, struct err *err)
{
    if (!id_valid(id))
        return unknown(err);
    pthread_mutex_lock(&g->uploads->lock);
    struct upload *u = *slot(g->uploads, id);
    bool mine = u && u->user_id == user_id && str_is(name, u->name) && !u->cancelled;
    bool memory = u && !u->row;
    pthread_mutex_unlock(&g->uploads->lock);
    if (u && !mine)
        return unknown(err);
    if (memory) {
        *ret_size = 0;
        return 0;
    }
    char text[UPLOAD_ID_LEN + 1] = {0};
    memcpy(text, id.p, id.n);
    struct find_read q = {.id = text};
    int rc = db_read(g->db, find_read, &q, err);
    if (rc < 0)
        return rc;
    if (!q.found || q.row.user_id != user_id || !str_is(name, q.row.name))
        return unknown(err);
    *ret_size = q.row.size;
    return 0;
}

int upload_cancel(struct registry *g, struct str id, struct str name, int64_t user_id,
                  struct err *err)
{
    struct upload *u;
    struct err why = {0};
    int rc = upload_claim(g, id, name, user_id, &u, &why);
    if (rc == ERR_UPLOAD_RANGE) {
        /* A request is at work: it removes the session when it lets go. */
        pthread_mutex_lock(&g->uploads->lock);
        u = *slot(g->uploads, id);
        if (u)
            u->cancelled = true;
        pthread_mutex_unlock(&g->uploads->lock);
        return 0;
    }
    if (rc < 0)
        return err_set(err, rc, "%s", why.text);
    rc = drop(g, u->id, u->row || u->reserved, u->file, err);
    upload_unclaim(g, u, rc == 0);
    return rc;
}

/* ---- the reaper ---- */
struct expired_read {
    int64_t before;
    char ids[REAP_BATCH][UPLOAD_ID_LEN + 1];
    size_t n;
};

static int expired_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct expired_read *q = arg;
    return upload_tx_expired(tx, q->before, q->ids, REAP_BATCH, &q->n, err);
}

static bool in_memory(struct registry *g, const char *id)
{
    pthread_mutex_lock(&g->uploads->lock);
    bool here = *slot(g->uploads, str_of(id)) != NULL;
    pthread_mutex_unlock(&g->uploads->lock);
    return here;
}

/* Sessions that never got a byte. Files of theirs (a first chunk that failed) go with the orphans.
 */
static int64_t reap_memory(struct registry *g, int64_t before)
{
    int64_t n = 0;
    pthread_mutex_lock(&g->uploads->lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct upload **at = &g->uploads->buckets[i]; *at;) {
            struct upload *u = *at;
            if (u->busy || u->row || u->touched >= before) {
                at = &u->next;
                continue;
            }
            *at = u->next;
            user_of(g->uploads, u->user_id)->memory--;
            upload_free(u);
            n++;
        }
    }
    pthread_mutex_unlock(&g->uploads->lock);
    return n;
}

static int reap_rows(struct registry *g, int64_t before, int64_t *n, struct err *err)
{
    struct expired_read *q = mem_zalloc(sizeof *q);
    q->before = before;
    int rc;
    size_t removed;
    do {
        removed = 0;
        rc = db_read(g->db, expired_read, q, err);
        for (size_t i = 0; rc == 0 && i < q->n; i++) {
            if (in_memory(g, q->ids[i]))
                continue;
            rc = drop(g, q->ids[i], true, true, err);
            removed++;
        }
        *n += (int64_t)removed;
    } while (rc == 0 && q->n == REAP_BATCH && removed > 0);
    free(q);
    return rc;
}

struct orphan_walk {
    struct registry *g;
    int64_t before;
};

/* Memory is asked first: a session being written is there; one that let go has its row by then. */
static int orphan(void *arg, const char *name, const struct blob_stat *st)
{
    struct orphan_walk *w = arg;
    struct err err = {0};
    if (st->ctime_ns / 1000 >= w->before || !id_valid(str_of(name)) || in_memory(w->g, name))
        return 0;
    struct find_read *q = mem_zalloc(sizeof *q);
    q->id = name;
    if (db_read(w->g->db, find_read, q, &err) == 0 && !q->found)
        (void)staging_remove(w->g->store, name, &err);
    free(q);
    return 0;
}

int upload_reap(struct registry *g, int64_t now, int64_t *ret_removed, struct err *err)
{
    int64_t before = now - registry_num(g, UPLOAD_EXPIRY);
    int64_t n = reap_memory(g, before);
    int rc = reap_rows(g, before, &n, err);
    if (rc == 0)
        rc = charge_release(g, false, err);
    if (rc == 0) {
        struct orphan_walk w = {g, before};
        rc = store_walk(g->store, "uploads", orphan, &w, err);
    }
    metric_gauge_add(METRIC_UPLOADS_OPEN, -n);
    metric_add(METRIC_UPLOADS_EXPIRED, (uint64_t)n);
    *ret_removed = n;
    return rc;
}
