/* Forwarding of the audit log, and its retention. */
#include "app/forward.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "crypt/hash.h"
#include "crypt/secret.h"
#include "net/hook.h"
#include "net/syslog.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS_MAX = 100, AGAIN = 100, ANCHOR_MAX = 1024, BODY_MAX = 8 << 20, RECORD_MAX = 48 << 10 };
enum { SECRET_MIN = 24, SECRET_MAX = 64, ANSWER_MAX = 64 << 10 };
enum { FACILITY = 13 /* log audit */, NOTICE = 5, INFORMATIONAL = 6 };
static const int64_t TICK = 1000000, TIMEOUT = 10000000, COMPLAIN = 60000000;
static const int64_t WAIT_FIRST = 1000000, WAIT_LAST = 60000000;
static const int64_t HOUR = INT64_C(3600) * 1000000, DAY = INT64_C(86400) * 1000000;
static const char SECRET_TAG[] = "whsec_";

struct settings {
    char *syslog, *webhook; /* "" off */
    uint8_t secret[SECRET_MAX];
    size_t n_secret;
    int64_t keep;           /* microseconds; 0 for ever */
};
enum { END_SYSLOG, END_WEBHOOK, ENDS };
struct end {
    const char *name;         /* keys/audit.NAME has its position */
    enum metric_id position, failures;
    bool on;
    int64_t seq;              /* the last row it has */
    int64_t saved;            /* as the file has it */
    int64_t first, again;     /* syslog: what went out before this process began; up to where it went back already */
    int64_t tried;            /* webhook: last row of the batch it did not take, 0 none */
    char anchor[ANCHOR_MAX];  /* the last checkpoint it has, "" none */
    int64_t wait, not_before, complained; /* monotonic; wait 0: the last attempt was good */
};
struct forward {
    struct app *app;
    struct settings now;      /* the thread's own */
    struct end ends[ENDS];
    struct net_syslog *syslog; /* NULL: to be made */
    char host[NET_HOST_MAX];  /* this hub's, in records */
    int64_t expire_at;        /* wall clock */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct settings *next;    /* under lock; NULL: nothing new */
    bool stop;                /* under lock */
};

/* ---- settings ---- */
/* "whsec_" and base64, as libraries of receivers take it; bytes, or -1. */
static long secret_of(struct str text, uint8_t out[SECRET_MAX])
{
    struct str rest = {text.p + (sizeof SECRET_TAG - 1), text.n - (sizeof SECRET_TAG - 1)};
    long n = str_starts(text, str_of(SECRET_TAG)) ? base64_decode(out, SECRET_MAX, rest) : -1;
    return n >= SECRET_MIN ? n : -1;
}

static int check_url(const struct config *c, int key, enum net_kind kind, bool tls, struct err *err)
{
    struct net_url u;
    size_t n;
    const struct config_key *k = &config_keys(&n)[key];
    const char *text = c->v[key].text;
    if (text[0] == '\0')
        return 0;
    if (net_url_parse(str_of(text), &u, err) < 0 || u.kind != kind || (tls && !u.tls))
        return err_set(err, ERR_USAGE, "%s (%s): %s is expected", k->name, c->origin[key], k->allowed);
    return 0;
}

int forward_check(const struct config *c, struct err *err)
{
    uint8_t secret[SECRET_MAX];
    struct str text = str_of(config_text(c, AUDIT_WEBHOOK_SECRET));
    int rc = check_url(c, CONFIG_AUDIT_SYSLOG, NET_SYSLOG, false, err);
    if (rc == 0)
        rc = check_url(c, CONFIG_AUDIT_WEBHOOK, NET_HTTP, true, err);
    if (rc == 0 && text.n > 0 && secret_of(text, secret) < 0)
        rc = err_set(err, ERR_USAGE, "audit_webhook_secret (%s): %s and base64 of %d to %d bytes are expected",
                     c->origin[CONFIG_AUDIT_WEBHOOK_SECRET], SECRET_TAG, SECRET_MIN, SECRET_MAX);
    if (rc == 0 && text.n == 0 && config_text(c, AUDIT_WEBHOOK)[0] != '\0')
        rc = err_set(err, ERR_USAGE, "audit_webhook needs audit_webhook_secret");
    secret_wipe(secret, sizeof secret);
    return rc;
}

static struct settings *settings_of(const struct config *c)
{
    struct settings *s = mem_zalloc(sizeof *s);
    s->syslog = mem_strdup(config_text(c, AUDIT_SYSLOG));
    s->webhook = mem_strdup(config_text(c, AUDIT_WEBHOOK));
    long n = secret_of(str_of(config_text(c, AUDIT_WEBHOOK_SECRET)), s->secret);
    s->n_secret = n > 0 ? (size_t)n : 0;
    s->keep = config_num(c, AUDIT_KEEP);
    return s;
}

static void settings_release(struct settings *s)
{
    free(s->syslog);
    free(s->webhook);
    secret_wipe(s, sizeof *s);
}

static void take_settings(struct forward *f)
{
    pthread_mutex_lock(&f->lock);
    struct settings *next = take(&f->next);
    pthread_mutex_unlock(&f->lock);
    if (!next)
        return;
    settings_release(&f->now);
    f->now = *next;
    secret_wipe(next, sizeof *next);
    free(next);
    net_syslog_free(take(&f->syslog));
    f->ends[END_SYSLOG].on = f->now.syslog[0] != '\0';
    f->ends[END_WEBHOOK].on = f->now.webhook[0] != '\0';
    for (int i = 0; i < ENDS; i++)
        f->ends[i].wait = f->ends[i].not_before = 0;
}

/* ---- positions: "SEQ\nANCHOR\n" ---- */
static void file_of(const struct end *e, char name[32]) { (void)snprintf(name, 32, "audit.%s", e->name); }

static int load_position(struct forward *f, struct end *e, struct err *err)
{
    char name[32];
    struct buf b;
    struct str rest, line;
    uint64_t seq = 0;
    file_of(e, name);
    buf_init(&b, 2 * ANCHOR_MAX);
    int rc = store_key_read(f->app->store, name, &b, err);
    rest = buf_view(&b);
    if (rc == 0 && (!str_split(&rest, '\n', &line) || !str_u64(line, &seq) || seq > INT64_MAX))
        rc = err_set(err, ERR_CORRUPT, "keys/%s is damaged; remove it to forward the audit log from its start", name);
    if (rc == 0 && str_split(&rest, '\n', &line))
        text_copy(e->anchor, sizeof e->anchor, line);
    buf_release(&b);
    e->seq = e->saved = e->first = (int64_t)seq;
    metric_set(e->position, e->seq);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int save_position(struct forward *f, struct end *e, struct err *err)
{
    char name[32], text[ANCHOR_MAX + 32];
    file_of(e, name);
    int n = snprintf(text, sizeof text, "%lld\n%s\n", (long long)e->seq, e->anchor);
    int rc = store_key_write(f->app->store, name, (struct str){text, (size_t)n}, err);
    if (rc == 0)
        e->saved = e->seq;
    metric_set(e->position, e->seq);
    return rc;
}

/* ---- reading ---- */
struct batch {
    int64_t after;
    struct arena arena;
    struct audit_row row[ROWS_MAX];
    int n;
    bool gone; /* the log ends before the position */
};

/* Cut to what a row may have: whoever wrote the table, a batch has a size. */
static struct str keep_text(struct arena *a, struct str s, size_t max)
{
    size_t n = s.n < max ? s.n : max;
    return (struct str){arena_strndup(a, n > 0 ? s.p : "", n), n};
}

static int keep_row(void *arg, const struct audit_row *row, struct err *err)
{
    struct batch *b = arg;
    struct audit_row *r = &b->row[b->n++];
    (void)err;
    *r = *row;
    r->actor = keep_text(&b->arena, row->actor, AUDIT_NAME_MAX);
    r->action = keep_text(&b->arena, row->action, AUDIT_NAME_MAX);
    r->object = keep_text(&b->arena, row->object, AUDIT_OBJECT_MAX);
    r->address = keep_text(&b->arena, row->address, AUDIT_CLIENT_MAX);
    r->client = keep_text(&b->arena, row->client, AUDIT_CLIENT_MAX);
    r->data = keep_text(&b->arena, row->data, AUDIT_DATA_MAX);
    return 0;
}

static int see_seq(void *arg, const struct audit_row *row, struct err *err)
{
    (void)err;
    *(int64_t *)arg = row->seq;
    return 0;
}

static int read_batch(struct db_tx *tx, void *arg, struct err *err)
{
    struct batch *b = arg;
    int64_t seq = 0;
    b->n = 0;
    b->gone = false;
    int rc = audit_tx_follow(tx, b->after, ROWS_MAX, keep_row, b, err);
    if (rc < 0 || b->n > 0 || b->after == 0)
        return rc;
    rc = audit_tx_follow(tx, b->after - 1, 1, see_seq, &seq, err); /* retention leaves the newest range */
    b->gone = seq != b->after;
    return rc;
}

/* ---- syslog ---- */
static void put_clean(struct buf *b, struct str s, bool quoted)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (quoted && (c == '"' || c == '\\' || c == ']'))
            buf_char(b, '\\');
        buf_char(b, (unsigned char)c < 0x20 || c == 0x7f ? '?' : c);
    }
}

static void put_param(struct buf *b, const char *name, struct str value)
{
    if (value.n == 0)
        return;
    buf_printf(b, " %s=\"", name);
    put_clean(b, value, true);
    buf_char(b, '"');
}

static void put_number(struct buf *b, const char *name, int64_t value)
{
    if (value != 0)
        buf_printf(b, " %s=\"%lld\"", name, (long long)value);
}

static const char *result_name(int64_t result)
{
    return result == AUDIT_DONE ? "done" : result == AUDIT_REFUSED ? "refused" : "failed";
}

/* 32473 is the number of RFC 5612 for those who have none of their own. */
static void row_record(const struct audit_row *r, struct buf *data, struct buf *text)
{
    buf_reset(data);
    buf_reset(text);
    buf_printf(data, "[berth@32473 seq=\"%lld\"", (long long)r->seq);
    put_param(data, "action", r->action);
    put_param(data, "object", r->object);
    put_param(data, "actor", r->actor);
    put_number(data, "account", r->account_id);
    put_number(data, "token", r->credential_id);
    put_param(data, "address", r->address);
    put_param(data, "client", r->client);
    put_param(data, "result", str_of(result_name(r->result)));
    put_number(data, "count", r->count);
    put_param(data, "data", r->data);
    buf_char(data, ']');
    put_clean(text, r->actor.n > 0 ? r->actor : STR_LIT("-"), false);
    buf_char(text, ' ');
    put_clean(text, r->action, false);
    buf_char(text, ' ');
    put_clean(text, r->object, false);
    buf_printf(text, ": %s", result_name(r->result));
    BUG_ON(data->overflow || text->overflow);
}

static int open_syslog(struct forward *f, struct err *err)
{
    struct net_syslog_config c = {
        .end = {.url = f->now.syslog, .who = NET_OPERATOR, .plain = true}, /* its scheme says whether TLS is spoken */
        .hostname = f->host, .app = "berth", .facility = FACILITY, .timeout = TIMEOUT};
    return f->syslog ? 0 : net_syslog_new(&f->syslog, f->app->net, &c, err);
}

/* A record went out; over a new connection what the old one may have lost is sent again, but never twice from the same
 * place, or an end that closes each connection early would see no progress. True: go on from e->seq. */
static bool handed_over(struct end *e, int rc)
{
    if (rc != 1 || e->seq <= e->again || e->seq <= e->first)
        return false;
    e->again = e->seq;
    e->seq = e->seq - AGAIN > e->first ? e->seq - AGAIN : e->first;
    e->anchor[0] = '\0';
    return true;
}

static int syslog_rows(struct forward *f, struct end *e, const struct batch *b, struct err *err)
{
    struct buf data, text;
    int rc = open_syslog(f, err);
    buf_init(&data, RECORD_MAX);
    buf_init(&text, RECORD_MAX);
    for (int i = 0; rc >= 0 && i < b->n; i++) {
        const struct audit_row *r = &b->row[i];
        auto_free char *action = mem_strndup(r->action.p, r->action.n);
        row_record(r, &data, &text);
        struct net_syslog_record record = {.severity = r->result == AUDIT_DONE ? INFORMATIONAL : NOTICE, .time = r->at,
                                           .msgid = action, .data = buf_view(&data), .text = buf_view(&text)};
        rc = net_syslog_send(f->syslog, &record, err);
        if (rc >= 0 && handed_over(e, rc))
            break;
        if (rc >= 0)
            e->seq = r->seq;
    }
    buf_release(&data);
    buf_release(&text);
    return rc < 0 ? rc : 0;
}

static int syslog_anchor(struct forward *f, struct end *e, const char *line, struct err *err)
{
    struct net_syslog_record record = {
        .severity = INFORMATIONAL, .time = clock_now(), .msgid = "audit.anchor", .text = str_of(line)};
    int rc = open_syslog(f, err);
    if (rc == 0)
        rc = net_syslog_send(f->syslog, &record, err);
    if (rc >= 0 && !handed_over(e, rc))
        text_copy(e->anchor, sizeof e->anchor, str_of(line));
    return rc < 0 ? rc : 0;
}

/* ---- webhook ---- */
/* The id is of the content: the same in every attempt. */
static int post(struct forward *f, const struct buf *body, struct err *err)
{
    char id[33], at[24], signature[NET_HOOK_SIGNATURE_MAX];
    struct digest d;
    struct net_answer answer;
    int64_t seconds = clock_now() / 1000000;
    BUG_ON(body->overflow);
    hash_bytes(DIGEST_SHA256, body->p, body->n, &d);
    hex_encode(id, d.bytes, 16);
    (void)snprintf(at, sizeof at, "%lld", (long long)seconds);
    struct str key = {(char *)f->now.secret, f->now.n_secret};
    int rc = net_hook_sign(key, str_of(id), seconds, buf_view(body), signature, err);
    if (rc < 0)
        return rc;
    struct net_header headers[] = {{"content-type", "application/json"},
                                   {"webhook-id", id},
                                   {"webhook-timestamp", at},
                                   {"webhook-signature", signature}};
    struct net_end end = {.url = f->now.webhook, .who = NET_OPERATOR};
    struct net_call call = {.method = "POST", .headers = headers, .n_headers = ARRAY_LEN(headers),
                            .body = buf_view(body), .cap = ANSWER_MAX, .timeout = TIMEOUT};
    rc = net_http(f->app->net, &end, &call, &answer, err);
    if (rc < 0)
        return rc;
    if (answer.status < 200 || answer.status > 299)
        rc = err_set(err, ERR_UNAVAILABLE, "audit_webhook answered %d", answer.status);
    net_answer_release(&answer);
    return rc;
}

static void begin_body(const struct forward *f, const char *type, struct buf *b)
{
    buf_init(b, BODY_MAX);
    buf_printf(b, "{\"type\":\"%s\",\"hub\":", type);
    buf_json(b, str_of(http_url(f->app->http)));
    buf_cstr(b, ",\"data\":");
}

static int webhook_rows(struct forward *f, struct end *e, const struct batch *b, struct err *err)
{
    struct buf body;
    int n = b->n;
    while (e->tried > 0 && n > 1 && b->row[n - 1].seq > e->tried) /* a retry is the same delivery */
        n--;
    begin_body(f, "audit.rows", &body);
    for (int i = 0; i < n; i++) {
        buf_char(&body, i == 0 ? '[' : ',');
        audit_line(&body, AUDIT_JSON, &b->row[i]);
    }
    buf_cstr(&body, "]}");
    int rc = post(f, &body, err);
    int64_t last = b->row[n - 1].seq;
    e->tried = rc == 0 ? 0 : last;
    if (rc == 0)
        e->seq = last;
    buf_release(&body);
    return rc;
}

static int webhook_anchor(struct forward *f, struct end *e, const char *line, struct err *err)
{
    struct buf body;
    begin_body(f, "audit.anchor", &body);
    buf_json(&body, str_of(line));
    buf_char(&body, '}');
    int rc = post(f, &body, err);
    if (rc == 0)
        text_copy(e->anchor, sizeof e->anchor, str_of(line));
    buf_release(&body);
    return rc;
}

/* ---- a pass over an end ---- */
static const struct {
    int (*rows)(struct forward *f, struct end *e, const struct batch *b, struct err *err);
    int (*anchor)(struct forward *f, struct end *e, const char *line, struct err *err);
} kinds[ENDS] = {{syslog_rows, syslog_anchor}, {webhook_rows, webhook_anchor}};

static void start_over(struct end *e)
{
    log_line(LOG_ERROR, "the audit log was set back: it is forwarded again from its start", F_CSTR("end", e->name),
             F_INT("had", e->seq));
    e->seq = e->first = e->again = e->tried = 0;
    e->anchor[0] = '\0';
}

static int forward_anchor(struct forward *f, int i, struct err *err)
{
    struct end *e = &f->ends[i];
    struct buf line;
    buf_init(&line, ANCHOR_MAX - 1);
    int rc = audit_anchor(f->app->db, &line, err);
    if (rc == 0 && line.overflow)
        rc = err_set(err, ERR_CORRUPT, "the newest seal of the audit log is too long");
    if (rc == 0 && strcmp(line.p, e->anchor) != 0 && (rc = kinds[i].anchor(f, e, line.p, err)) == 0)
        e->saved = -1; /* to be written */
    buf_release(&line);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* 1: there may be more. */
static int pass(struct forward *f, int i, struct batch *b, struct err *err)
{
    struct end *e = &f->ends[i];
    b->after = e->seq;
    arena_init(&b->arena);
    int rc = db_read(f->app->db, read_batch, b, err);
    if (rc >= 0 && b->gone)
        start_over(e);
    else if (rc >= 0 && b->n > 0)
        rc = kinds[i].rows(f, e, b, err);
    arena_release(&b->arena);
    if (rc >= 0)
        rc = forward_anchor(f, i, err);
    bool changed = e->seq != e->saved;
    int saved = changed ? save_position(f, e, rc < 0 ? NULL : err) : 0;
    return rc < 0 ? rc : saved < 0 ? saved : changed;
}

static void run_end(struct forward *f, int i, struct batch *b, bool *more)
{
    struct end *e = &f->ends[i];
    struct err err = {0};
    int64_t now = clock_mono();
    if (!e->on || now < e->not_before)
        return;
    int rc = pass(f, i, b, &err);
    *more |= rc == 1;
    if (rc >= 0) {
        if (e->wait > 0)
            log_line(LOG_INFO, "the audit log is forwarded again", F_CSTR("end", e->name));
        e->wait = 0;
        return;
    }
    metric_add(e->failures, 1);
    if (i == END_SYSLOG)
        net_syslog_free(take(&f->syslog)); /* it waits by itself, too; one wait is enough */
    if (e->wait == 0 || now - e->complained > COMPLAIN) {
        e->complained = now;
        log_line(LOG_WARN, "the audit log is not forwarded", F_CSTR("end", e->name), F_CSTR("error", err.text));
    }
    e->wait = e->wait == 0 ? WAIT_FIRST : e->wait * 2 < WAIT_LAST ? e->wait * 2 : WAIT_LAST;
    e->not_before = clock_mono() + e->wait;
}

/* ---- retention ---- */
struct limit {
    const struct forward *f;
    int64_t before;
};

static int see_time(void *arg, const struct audit_row *row, struct err *err)
{
    int64_t *before = arg;
    (void)err;
    *before = row->at < *before ? row->at : *before; /* its seal is younger */
    return 0;
}

static int read_limit(struct db_tx *tx, void *arg, struct err *err)
{
    struct limit *l = arg;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < ENDS; i++)
        if (l->f->ends[i].on)
            rc = audit_tx_follow(tx, l->f->ends[i].seq, 1, see_time, &l->before, err);
    return rc;
}

static int add_row(struct db_tx *tx, void *arg, struct err *err) { return audit_tx_add(tx, arg, err); }

static int expire(struct forward *f, int64_t now, struct err *err)
{
    struct limit l = {f, now - f->now.keep};
    int64_t rows = 0;
    char data[64];
    int rc = db_read(f->app->db, read_limit, &l, err);
    if (rc >= 0)
        rc = audit_expire(f->app->audit, l.before, &rows, err);
    if (rc < 0 || rows == 0)
        return rc;
    int n = snprintf(data, sizeof data, "{\"rows\":%lld}", (long long)rows);
    struct audit_row row = {.action = STR_LIT("audit.expire"), .data = {data, (size_t)n}};
    log_line(LOG_INFO, "old audit rows removed", F_INT("rows", rows));
    return db_write(f->app->db, add_row, &row, err);
}

static void run_expire(struct forward *f)
{
    struct err err = {0};
    int64_t now = clock_now();
    if (f->expire_at > now + DAY) /* the clock went back */
        f->expire_at = now + DAY;
    if (f->now.keep == 0 || now < f->expire_at || app_read_only(f->app))
        return;
    f->expire_at = now + DAY;
    if (expire(f, now, &err) < 0)
        log_line(LOG_ERROR, "old audit rows are not removed", F_CSTR("error", err.text));
}

/* ---- the thread ---- */
static bool wait_tick(struct forward *f, bool more)
{
    int64_t at = clock_mono() + (more ? 0 : TICK);
    struct timespec until = {.tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000};
    int rc = 0;
    pthread_mutex_lock(&f->lock);
    while (!f->stop && !f->next && rc == 0)
        rc = pthread_cond_clockwait(&f->cond, &f->lock, CLOCK_MONOTONIC, &until);
    bool stop = f->stop;
    pthread_mutex_unlock(&f->lock);
    return !stop;
}

static void *forward_main(void *arg)
{
    struct forward *f = arg;
    struct batch *b = mem_zalloc(sizeof *b);
    bool more = false;
    (void)pthread_setname_np(pthread_self(), "audit-forward");
    do {
        more = false;
        take_settings(f);
        for (int i = 0; i < ENDS; i++)
            run_end(f, i, b, &more);
        run_expire(f);
    } while (wait_tick(f, more));
    free(b);
    return NULL;
}

void forward_reload(struct forward *f, const struct config *c)
{
    struct settings *s = settings_of(c);
    pthread_mutex_lock(&f->lock);
    struct settings *old = f->next;
    f->next = s;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
    if (old) {
        settings_release(old);
        free(old);
    }
}

static int start_thread(struct forward *f, struct err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&f->thread, NULL, forward_main, f);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0 ? 0 : err_set(err, ERR_UNAVAILABLE, "no thread to forward the audit log: %s", strerror(rc));
}

static void release(struct forward *f)
{
    net_syslog_free(f->syslog);
    settings_release(&f->now);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free(f);
}

int forward_start(struct app *a, struct err *err)
{
    struct forward *f = mem_zalloc(sizeof *f);
    struct net_url hub;
    f->app = a;
    f->ends[END_SYSLOG] = (struct end){
        .name = "syslog", .position = METRIC_AUDIT_SYSLOG_SEQ, .failures = METRIC_AUDIT_SYSLOG_FAILED};
    f->ends[END_WEBHOOK] = (struct end){
        .name = "webhook", .position = METRIC_AUDIT_WEBHOOK_SEQ, .failures = METRIC_AUDIT_WEBHOOK_FAILED};
    f->expire_at = clock_now() + HOUR;
    if (net_url_parse(str_of(http_url(a->http)), &hub, NULL) == 0)
        text_copy(f->host, sizeof f->host, str_of(hub.host));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->cond, NULL);
    f->next = settings_of(a->config);
    take_settings(f);
    int rc = 0;
    for (int i = 0; rc == 0 && i < ENDS; i++)
        rc = load_position(f, &f->ends[i], err);
    if (rc == 0)
        rc = start_thread(f, err);
    if (rc < 0)
        release(f);
    else
        a->forward = f;
    return rc;
}

void forward_stop(struct app *a)
{
    struct forward *f = take(&a->forward);
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    if (f->next) {
        settings_release(f->next);
        free(f->next);
    }
    release(f);
}
