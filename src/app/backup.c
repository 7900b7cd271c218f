/* Backup and restore: one tar with what the hub is, database, blobs and keys.
 *
 *   berth-backup.json  {"format":1,"schema":N,"version":"...","created":"..."}
 *   keys/NAME          token key, self-signed certificate, first password; of audit.keys the public halves; never
 *                      seal.keys (crypt/seal.h): a stolen archive must not open what is sealed in its database (T50)
 *   blobs/ALG/HEX      every good blob of the snapshot
 *   database.jsonl     the dump (db.h), last: an archive without it is cut off
 *
 * The snapshot is taken first; trash is held in place until its blobs are copied, so nothing that it
 * names can vanish. Restore hashes each blob on the way in and refuses a directory that holds data. */
#include "app/control.h"
#include "arc/arc.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "base/json.h"
#include "crypt/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1, LINE_MAX = 64 << 20, META_MAX = 4096, KEY_MAX = 64 << 10, PROGRESS_US = 200000 };
static const int64_t ENTRY_MAX = INT64_C(1) << 48, TOTAL_MAX = INT64_C(1) << 56;
static const char AUDIT_KEYS[] = "audit.keys"; /* never its seed: a copy of the log must not be able to sign for it */
static const char *const key_names[] = {"token.seed", "credential.key", "admin-password", "self.crt", "self.key", AUDIT_KEYS};
static const char MARKER[] = "restore-incomplete";

struct progress {
    const struct control_out *out;
    int64_t blobs, bytes, last;
};

static int tell(void *arg, int64_t bytes)
{
    struct progress *p = arg;
    int64_t now = clock_mono();
    p->bytes = bytes;
    if (now - p->last < PROGRESS_US)
        return 0;
    p->last = now;
    return p->out->line(p->out->arg, "progress",
                        json_pack("{s:I,s:I}", "blobs", (json_int_t)p->blobs, "bytes", (json_int_t)bytes), NULL);
}

/* --- backup */

struct backup {
    struct app *app;
    const struct control_out *out;
    struct arc_writer *arc;
    struct progress progress;
    int64_t problems;
};

static int dump_line(void *arg, struct str line, struct err *err)
{
    FILE *f = arg;
    if (fwrite(line.p, 1, line.n, f) != line.n || fputc('\n', f) == EOF)
        return err_sys(err, ERR_IO, "cannot write the dump beside the data");
    return 0;
}

static int add_meta(struct backup *b, struct err *err)
{
    char created[28];
    clock_rfc3339(created, clock_now());
    json_t *meta = json_pack("{s:i,s:I,s:s,s:s}", "format", FORMAT, "schema", (json_int_t)db_schema_version(b->app->db),
                             "version", BERTH_VERSION, "created", created);
    char *text = json_dumps(meta, JSON_COMPACT);
    json_decref(meta);
    int rc = arc_add(b->arc, "berth-backup.json", str_of(text), err);
    free(text);
    return rc;
}

/* The audit log's signing key stays here: who has a backup must not be able to sign another history. */
static int add_audit_keys(struct backup *b, struct err *err)
{
    struct buf keys;
    buf_init(&keys, KEY_MAX);
    int rc = audit_keys_public(b->app->store, &keys, err);
    if (rc == 0)
        rc = arc_add(b->arc, "keys/audit.keys", buf_view(&keys), err);
    buf_release(&keys);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int add_keys(struct backup *b, struct err *err)
{
    int rc = add_audit_keys(b, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(key_names); i++) {
        char name[64];
        struct buf key;
        buf_init(&key, KEY_MAX);
        rc = key_names[i] == AUDIT_KEYS ? audit_keys_public(b->app->store, &key, err)
                                        : store_key_read(b->app->store, key_names[i], &key, err);
        (void)snprintf(name, sizeof name, "keys/%s", key_names[i]);
        if (rc == 0)
            rc = arc_add(b->arc, name, buf_view(&key), err);
        else if (rc == ERR_NOT_FOUND)
            rc = 0;
        if (key.p)
            secret_wipe(key.p, key.size);
        buf_release(&key);
    }
    return rc;
}

static void blob_name(const struct digest *d, char out[ARC_NAME_MAX + 1])
{
    char hex[2 * 64 + 1];
    hex_encode(hex, d->bytes, d->len);
    (void)snprintf(out, ARC_NAME_MAX + 1, "blobs/%s/%s", digest_alg_name((enum digest_alg)d->alg), hex);
}

static int add_blob(struct backup *b, const struct digest *d, struct err *err)
{
    char name[ARC_NAME_MAX + 1], text[DIGEST_TEXT_MAX];
    struct stat st;
    auto_fd int fd = -1;
    int rc = store_open_any(b->app->store, d, &fd, err);
    if (rc == ERR_BLOB_UNKNOWN) {
        b->problems++;
        return b->out->line(b->out->arg, "item",
                            json_pack("{s:s,s:s,s:s}", "problem", "missing", "digest", digest_text(d, text), "detail",
                                      "the file of this blob is gone; a push repairs it"), err);
    }
    if (rc < 0)
        return rc;
    if (fstat(fd, &st) != 0)
        return err_sys(err, ERR_IO, "cannot look at a blob");
    blob_name(d, name);
    b->progress.blobs++;
    return arc_add_fd(b->arc, name, fd, st.st_size, err);
}

/* {"t":"blobs","r":[{"b":KEY},size,state,...]}: 1 a good blob, 0 not. */
static int blob_of_line(struct str line, struct digest *ret)
{
    json_t *doc = NULL;
    uint8_t key[DIGEST_KEY_MAX + 3];
    if (!str_starts(line, STR_LIT("{\"t\":\"blobs\",")) || json_strict(line, JSON_CAPS_DEFAULT, &doc, NULL) < 0)
        return 0;
    json_t *row = json_object_get(doc, "r");
    const char *text = json_string_value(json_object_get(json_array_get(row, 0), "b"));
    long n = text ? base64_decode(key, sizeof key, str_of(text)) : -1;
    bool good = n > 0 && json_integer_value(json_array_get(row, 2)) == 0 &&
                digest_from_key((struct str){(char *)key, (size_t)n}, ret) == 0;
    json_decref(doc);
    return good;
}

static int add_blobs(struct backup *b, FILE *dump, struct err *err)
{
    char *line = NULL;
    size_t cap = 0;
    long n;
    int rc = 0;
    rewind(dump);
    while (rc == 0 && (n = getline(&line, &cap, dump)) > 0) {
        struct digest d;
        if (blob_of_line((struct str){line, (size_t)n - 1}, &d))
            rc = add_blob(b, &d, err);
    }
    free(line);
    return rc;
}

static int write_all(struct backup *b, int fd, FILE *dump, struct err *err)
{
    int rc = db_dump(b->app->db, dump_line, dump, err);
    if (rc == 0 && fflush(dump) != 0)
        rc = err_sys(err, ERR_IO, "cannot write the dump beside the data");
    if (rc < 0 || (rc = arc_writer_open(&b->arc, fd, tell, &b->progress, err)) < 0)
        return rc;
    if ((rc = add_meta(b, err)) < 0 || (rc = add_keys(b, err)) < 0 || (rc = add_blobs(b, dump, err)) < 0)
        return rc;
    struct stat st;
    if (fstat(fileno(dump), &st) != 0)
        return err_sys(err, ERR_IO, "cannot look at the dump");
    rc = arc_add_fd(b->arc, "database.jsonl", fileno(dump), st.st_size, err);
    return rc < 0 ? rc : arc_finish(b->arc, err);
}

/* A nameless file on the data's own volume. */
static FILE *scratch(const struct store *s, struct err *err)
{
    int fd = open(store_dir(s), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w+") : tmpfile();
    if (!f) {
        (void)err_sys(err, ERR_IO, "cannot make a scratch file");
        if (fd >= 0)
            close(fd);
    }
    return f;
}

int backup_run(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    struct backup b = {.app = a, .out = out, .progress = {.out = out}};
    int fd = (int)json_integer_value(json_object_get(args, "fd"));
    if (fd < 0 || !json_is_integer(json_object_get(args, "fd")))
        return err_set(err, ERR_USAGE, "backup: no file was given");
    FILE *dump = scratch(a->store, err);
    if (!dump)
        return ERR_IO;
    registry_trash_hold(a->registry, true);
    int rc = write_all(&b, fd, dump, err);
    registry_trash_hold(a->registry, false);
    arc_writer_free(b.arc);
    (void)fclose(dump);
    if (rc < 0)
        return rc;
    return out->line(out->arg, "done",
                     json_pack("{s:I,s:I,s:I}", "blobs", (json_int_t)b.progress.blobs, "bytes",
                               (json_int_t)b.progress.bytes, "problems", (json_int_t)b.problems), err);
}

/* --- restore */

struct restore {
    struct arc_reader *arc;
    struct progress progress;
    struct store *store;
    const char *dir, *url;
    struct buf text;   /* of the dump: what is left of the last piece */
    size_t line_end;   /* of the line handed out, with its newline */
    int64_t dropped;   /* rows that make no sense elsewhere */
    char count[64];
    bool loaded;
};

/* Sessions have no files in the archive, and trash has none either. */
static bool stays_behind(struct str line)
{
    return str_starts(line, STR_LIT("{\"t\":\"uploads\",")) || str_starts(line, STR_LIT("{\"t\":\"trash\","));
}

/* The dump's last line counts its rows; what was dropped must not be missed. */
static struct str recount(struct restore *r, struct str line)
{
    struct str number = {line.p + 8, line.n - 9};
    uint64_t rows;
    if (r->dropped == 0 || !str_starts(line, STR_LIT("{\"rows\":")) || !str_u64(number, &rows))
        return line;
    int n = snprintf(r->count, sizeof r->count, "{\"rows\":%lld}", (long long)((int64_t)rows - r->dropped));
    return (struct str){r->count, (size_t)n};
}

static int next_line(struct restore *r, struct str *ret, struct err *err)
{
    if (r->line_end > 0) {
        memmove(r->text.p, r->text.p + r->line_end, r->text.n - r->line_end);
        r->text.n -= r->line_end;
        r->line_end = 0;
    }
    for (size_t from = 0;;) {
        const char *end = r->text.n > from ? memchr(r->text.p + from, '\n', r->text.n - from) : NULL;
        if (end) {
            r->line_end = (size_t)(end - r->text.p) + 1;
            *ret = (struct str){r->text.p, r->line_end - 1};
            return 1;
        }
        const void *p;
        size_t n;
        from = r->text.n;
        int rc = arc_read(r->arc, &p, &n, err);
        if (rc < 0 || n == 0)
            return rc;
        buf_add(&r->text, p, n);
        if (r->text.overflow)
            return err_set(err, ERR_INVALID, "the dump has a line above %d bytes", LINE_MAX);
    }
}

static int load_next(void *arg, struct str *ret_line, struct err *err)
{
    struct restore *r = arg;
    for (;;) {
        int rc = next_line(r, ret_line, err);
        if (rc != 1)
            return rc;
        if (!stays_behind(*ret_line)) {
            *ret_line = recount(r, *ret_line);
            return 1;
        }
        r->dropped++;
    }
}

static int read_small(struct restore *r, size_t max, struct buf *ret, struct err *err)
{
    const void *p;
    size_t n;
    int rc;
    buf_init(ret, max);
    while ((rc = arc_read(r->arc, &p, &n, err)) == 0 && n > 0)
        buf_add(ret, p, n);
    return rc < 0 ? rc : ret->overflow ? err_set(err, ERR_INVALID, "an entry is too long") : 0;
}

static int take_meta(struct restore *r, struct err *err)
{
    struct arc_entry e;
    struct buf text;
    json_t *meta = NULL;
    int rc = arc_next(r->arc, &e, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || strcmp(e.name, "berth-backup.json") != 0)
        return err_set(err, ERR_INVALID, "this is not a backup made by berth");
    rc = read_small(r, META_MAX, &text, err);
    if (rc == 0)
        rc = json_strict(buf_view(&text), JSON_CAPS_DEFAULT, &meta, err);
    buf_release(&text);
    if (rc < 0)
        return rc;
    int64_t format = json_integer_value(json_object_get(meta, "format"));
    json_decref(meta);
    return format == FORMAT ? 0 : err_set(err, ERR_INVALID, "backup format %lld; this program reads %d", (long long)format, FORMAT);
}

static int take_key(struct restore *r, const char *name, struct err *err)
{
    struct buf key;
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(key_names); i++)
        known = known || strcmp(name, key_names[i]) == 0;
    if (!known)
        return err_set(err, ERR_INVALID, "unknown key %s in the archive", name);
    int rc = read_small(r, KEY_MAX, &key, err);
    if (rc == 0)
        rc = store_key_write(r->store, name, buf_view(&key), err);
    if (key.p)
        secret_wipe(key.p, key.size);
    buf_release(&key);
    return rc;
}

static int take_blob(struct restore *r, struct str name, struct err *err)
{
    char text[ARC_NAME_MAX + 1];
    struct digest d;
    struct blob_stat st;
    const char *slash = memchr(name.p, '/', name.n);
    if (!slash)
        return err_set(err, ERR_INVALID, "blobs/%.*s is no blob's name", STR_FMT(name));
    text_copy(text, sizeof text, name);
    text[slash - name.p] = ':';
    int rc = digest_parse(str_of(text), &d, err);
    r->progress.blobs++;
    return rc < 0 ? rc : store_import(r->store, &d, arc_read, r->arc, &st, err);
}

static int take_entries(struct restore *r, struct err *err)
{
    struct arc_entry e;
    int rc;
    while ((rc = arc_next(r->arc, &e, err)) == 1) {
        struct str name = str_of(e.name);
        if (r->loaded)
            return err_set(err, ERR_INVALID, "%s stands behind the database in the archive", e.name);
        if (str_starts(name, STR_LIT("keys/"))) {
            rc = take_key(r, e.name + 5, err);
        } else if (str_starts(name, STR_LIT("blobs/"))) {
            rc = take_blob(r, (struct str){name.p + 6, name.n - 6}, err);
        } else if (str_is(name, "database.jsonl")) {
            rc = db_load(r->dir, r->url, str_of(store_id(r->store)), load_next, r, err);
            r->loaded = rc == 0;
        } else {
            rc = err_set(err, ERR_INVALID, "unknown entry %s in the archive", e.name);
        }
        if (rc < 0)
            return rc;
    }
    if (rc == 0 && !r->loaded)
        return err_set(err, ERR_INVALID, "the archive is cut off: it holds no database");
    return rc;
}

static int marker_path(const char *dir, char out[4200], struct err *err)
{
    int n = snprintf(out, 4200, "%s/%s", dir, MARKER);
    return n > 0 && n < 4200 ? 0 : err_set(err, ERR_USAGE, "data: the path is too long");
}

int backup_restore_pending(const char *dir, struct err *err)
{
    char path[4200];
    int rc = marker_path(dir, path, err);
    if (rc == 0 && access(path, F_OK) == 0)
        return err_set(err, ERR_UNAVAILABLE, "%s holds a restore that was not finished: remove the directory and restore again", dir);
    return rc;
}

/* Only a directory without data, or none. */
static int check_empty(const char *dir, struct err *err)
{
    static const char *const ours[] = {"store.json", "berth.db", "blobs"};
    int rc = backup_restore_pending(dir, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(ours); i++) {
        char path[4200];
        (void)snprintf(path, sizeof path, "%.4000s/%s", dir, ours[i]);
        if (access(path, F_OK) == 0)
            rc = err_set(err, ERR_EXISTS, "%s holds data already (%s): restore into an empty directory", dir, ours[i]);
    }
    return rc;
}

static int mark(const char *dir, bool on, struct err *err)
{
    char path[4200];
    int rc = marker_path(dir, path, err);
    if (rc < 0)
        return rc;
    auto_fd int fd = on ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (on ? fd < 0 : unlink(path) != 0)
        return err_sys(err, ERR_IO, "cannot write %s", path);
    auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return d >= 0 && fsync(d) == 0 ? 0 : err_sys(err, ERR_IO, "cannot sync %s", dir);
}

static int restore_into(struct restore *r, int fd, struct err *err)
{
    int rc;
    if ((rc = mark(r->dir, true, err)) < 0 || (rc = store_open(&r->store, r->dir, true, err)) < 0 ||
        (rc = arc_reader_open(&r->arc, fd, ENTRY_MAX, TOTAL_MAX, tell, &r->progress, err)) < 0 ||
        (rc = take_meta(r, err)) < 0 || (rc = take_entries(r, err)) < 0)
        return rc;
    return mark(r->dir, false, err);
}

int restore_run(struct config *config, int fd, const struct control_out *out, struct err *err)
{
    struct restore r = {.progress = {.out = out}, .dir = config_text(config, DATA), .url = config_text(config, DATABASE)};
    auto_fd int lock = -1;
    buf_init(&r.text, LINE_MAX);
    int rc = app_become_owner(r.dir, err);
    if (rc == 0)
        rc = secret_setup(err);
    if (rc == 0 && (rc = app_lock(r.dir, true, &lock, err)) == 0 && (rc = check_empty(r.dir, err)) == 0)
        rc = restore_into(&r, fd, err);
    arc_reader_free(r.arc);
    store_close(r.store);
    buf_release(&r.text);
    config_free(config);
    if (rc < 0)
        return rc;
    return out->line(out->arg, "done",
                     json_pack("{s:I,s:I}", "blobs", (json_int_t)r.progress.blobs, "bytes", (json_int_t)r.progress.bytes), err);
}
