/* Private contract of the registry room: what its files share with one another.
 *
 * Who owns what: registry.c the object · manifest.c the strict model · *_sql.c statements ·
 * *_api.c route handlers · upload.c sessions in memory · gc*, scrub*, fsck*, background.c upkeep
 * (gc.h). Handlers run after the gate: rights are decided, req_repo(r) says where. */
#ifndef REGISTRY_REGISTRY_INT_H
#define REGISTRY_REGISTRY_INT_H
#include "base/clock.h"
#include "base/config.h"
#include "base/gen.h"
#include "base/log.h"
#include "base/metric.h"
#include "crypt/hash.h"
#include "crypt/secret.h"
#include "ident/ident.h"
#include "registry/gc.h"
#include "registry/registry.h"

#include <stdatomic.h>
#include <stdio.h>

struct upload_table;
struct background;

struct registry {
    struct db *db;
    struct store *store;
    struct policy *policy;
    /* Numbers of the configuration by key; a reload replaces them one by one. */
    _Atomic int64_t num[CONFIG_COUNT];
    int loops;
    struct cache **caches;                     /* one a loop, touched by that loop's thread only */
    struct blob_files *files;                  /* likewise: open files in use (blob_file.c) */
    struct upload_table *uploads;              /* upload.c */
    struct background *background;             /* background.c; NULL until started */
    _Atomic int trash_holds;                   /* backups that are copying: trash.c */
    _Atomic int64_t space_checked, space_free; /* monotonic us, bytes: registry_space */
};
#define registry_num(g, KEY) atomic_load_explicit(&(g)->num[CONFIG_##KEY], memory_order_relaxed)

/* ERR_STORAGE_FULL below min_free. Asks the file system at most every 200 ms; in between `taking`, the bytes
 * about to be written, is counted off. Also sets METRIC_STORE_FREE. */
int registry_space(struct registry *g, int64_t taking, struct err *err);
static inline struct str key_str(const struct digest *d, uint8_t out[DIGEST_KEY_MAX])
{
    size_t n = digest_key(d, out);
    return (struct str){(const char *)out, n};
}
/* ---- manifest.c: the strict model (image-spec manifest.md, image-index.md, descriptor.md) ---- */
enum manifest_kind { MANIFEST_IMAGE = 1, MANIFEST_INDEX = 2 };
enum ref_kind { REF_CONFIG = 1, REF_BLOB = 2, REF_CHILD = 3 }; /* manifest_refs.kind */
enum { MANIFEST_REFS_MAX = 10000, MEDIA_TYPE_MAX = 255, TAG_MAX = 128, TAGS_PARAM_MAX = 100 };
struct manifest_ref {
    struct digest target;
    uint8_t kind;
    int64_t size;
};
struct manifest {
    enum manifest_kind kind;
    struct str media_type;    /* without parameters, lower-case as pushed */
    struct str artifact_type; /* as the referrers API reports it; empty: none */
    struct str annotations;   /* compact JSON object for the referrers API; empty: none */
    bool has_subject;
    struct digest subject;
    struct manifest_ref *refs; /* distinct targets */
    size_t n_refs;
};
/* Parses and checks the bytes of a manifest pushed as content_type; all of *ret lives in the arena.
 * ERR_MANIFEST_INVALID with the rule broken and what is allowed. max_bytes caps the document. */
int manifest_parse(struct arena *a, struct str bytes, struct str content_type, size_t max_bytes,
                   struct manifest *ret, struct err *err);
bool tag_valid(struct str s);
bool media_type_is_manifest(struct str s); /* one of the four that can be stored as manifests */
bool media_type_is_image(struct str s);    /* one of the two of them that are no index */

/* ---- manifest_sql.c ---- */
struct manifest_row {
    int64_t id, size;
    struct digest digest;
    struct str media_type; /* copied into the arena */
    struct str bytes;      /* copied into the arena, when asked for */
};
/* 1 found, 0 none. max_bytes: longer manifests come without bytes (bytes.p NULL). */
int manifest_tx_by_digest(struct db_tx *tx, struct arena *a, int64_t repo_id,
                          const struct digest *d, int64_t max_bytes, struct manifest_row *ret,
                          struct err *err);
int manifest_tx_by_tag(struct db_tx *tx, struct arena *a, int64_t repo_id, struct str tag,
                       int64_t max_bytes, struct manifest_row *ret, struct err *err);
/* Bytes [offset, offset+cap) of a stored manifest into p; *ret_n 0 when it is gone. */
int manifest_tx_slice(struct db_tx *tx, int64_t id, int64_t offset, void *p, size_t cap,
                      size_t *ret_n, struct err *err);
struct manifest_put {
    int64_t repo_id, actor_id;
    struct digest digest;
    const struct manifest *model;
    struct str bytes;
    const struct str *tags;
    size_t n_tags;
};
/* Row, references, tags, review rows, events. Idempotent; an existing row with other bytes is
 * repaired. *ret_missing: config and layers named that this repository does not hold. */
int manifest_tx_put(struct db_tx *tx, const struct manifest_put *p, int64_t *ret_missing,
                    struct err *err);
/* Deletes a manifest with its tags and references, queues what they held for review, appends
 * events. Also for the collector (actor 0). 1 deleted, 0 there was none. The caller brackets its
 * commit with gen_begin/gen_end(GEN_REPO, canonical name). */
int manifest_tx_delete(struct db_tx *tx, int64_t repo_id, const struct digest *d, int64_t actor_id,
                       struct err *err);

/* ---- tag_sql.c ---- */
int tag_tx_set(struct db_tx *tx, int64_t repo_id, struct str tag, int64_t manifest_id,
               const struct digest *d, int64_t actor_id, struct err *err);
int tag_tx_delete(struct db_tx *tx, int64_t repo_id, struct str tag, int64_t actor_id,
                  struct err *err); /* 1, 0 none */
/* Tags after `last` in byte order, at most n. fn returns 0, or anything else to stop. */
int tag_tx_page(struct db_tx *tx, int64_t repo_id, struct str last, int64_t n,
                int (*fn)(void *arg, struct str tag), void *arg, struct err *err);

/* ---- blob_sql.c ---- */
struct blob_row {
    int64_t size, state, verified_at, ino, ctime_ns;
};
/* Through the repository's link: 1 found, 0 not linked here. */
int blob_tx_linked(struct db_tx *tx, int64_t repo_id, const struct digest *d, struct blob_row *ret,
                   struct err *err);
/* A published file becomes a good row, replacing what was known of an older file. */
int blob_tx_upsert(struct db_tx *tx, const struct digest *d, const struct blob_stat *st,
                   struct err *err);
int blob_tx_link(struct db_tx *tx, int64_t repo_id, const struct digest *d, const char *event,
                 struct err *err);
int blob_tx_unlink(struct db_tx *tx, int64_t repo_id, const struct digest *d, int64_t actor_id,
                   struct err *err); /* 1, 0 none */
int blob_tx_verified(struct db_tx *tx, const struct digest *d, const struct blob_stat *st,
                     struct err *err);
/* Whose namespace the repository is in, and his plan (0: the site's default). account 0: nobody's. */
struct holder {
    int64_t account, plan;
};
int holder_tx_find(struct db_tx *tx, int64_t repo_id, struct holder *ret, struct err *err);
/* state = 1: 1 changed; 0 it is so already, or the row is gone (collected meanwhile). */
int blob_tx_quarantine(struct db_tx *tx, const struct digest *d, struct err *err);
/* A repository that links the blob and that p may read, among the first `MOUNT_CANDIDATES_MAX`: 1,
 * 0 none. */
enum { MOUNT_CANDIDATES_MAX = 1000 };
int blob_tx_readable_somewhere(struct db_tx *tx, const struct principal *p, const struct digest *d,
                               struct err *err);

/* ---- charge.c: what repositories hold, on the account they belong to (policy/quota.h) ---- */
/* For each row really added to or removed from repo_blobs and manifests; done by blob_tx_* and manifest_tx_*.
 * ERR_QUOTA. */
int charge_tx_link(struct db_tx *tx, int64_t repo_id, const struct digest *d, int64_t size, struct err *err);
int charge_tx_unlink(struct db_tx *tx, int64_t repo_id, const struct digest *d, struct err *err);
/* Reservations that expired; or, before uploads are served, those that a crash left. */
int charge_release(struct registry *g, bool all_orphans, struct err *err);

/* ---- blob_api.c: for the scrub, too ---- */
/* A file was found not to match its digest (or to be missing): checks again under the store's lock,
 * moves it aside, marks the row, logs and counts. */
int blob_quarantine(struct registry *g, const struct digest *d, struct err *err);

/* ---- upload.c, upload_sql.c ---- */
int upload_table_new(struct registry *g, struct err *err);
void upload_table_free(struct registry *g);
/* Removes sessions untouched for upload_expiry (memory, rows and files) and files that belong to no
 * session; called by the background thread. */
int upload_reap(struct registry *g, int64_t now, int64_t *ret_removed, struct err *err);

/* ---- event_sql.c ---- */
/* One row of the append-only log, in the transaction of the change. data: a JSON object. */
int event_tx_append(struct db_tx *tx, const char *kind, int64_t actor_id, int64_t repo_id,
                    struct str data, struct err *err);

/* ---- repo.c: shared by the writing handlers ---- */
/* Who pushes where; outlives the request when who and name do. */
struct push_target {
    const struct principal *who;
    struct str name; /* canonical */
    bool absent;     /* the gate found no such repository */
};
static inline struct push_target push_target_of(const struct http_req *r)
{
    const struct req_repo *rr = req_repo(r);
    return (struct push_target){req_principal(r), rr->name, rr->fact == NULL};
}
/* In a write: decides again, makes namespace and repository when missing (event
 * repository.created). */
int repo_tx_for_push(struct db_tx *tx, const struct push_target *t, struct push_into *ret, struct err *err);
/* db_write bracketed with gen_begin/gen_end of the repository's name. */
int repo_write(struct registry *g, struct str name, db_callback fn, void *arg, struct err *err);

/* Adds a `Warning: 299 - "..."` header (distribution-spec "Warnings"); at most 4096 bytes of them
 * in one answer. */
void registry_warn(struct http_req *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- rate.c: how much each caller pulls and pushes in a window (policy/policy.h) ---- */
/* Adds the headers of the caller's pulls, and counts one if it `counts`. False: that was one too many, and
 * the answer is made. No lock, no database. */
bool rate_pull(struct http_req *r, bool counts);
bool rate_pushes_limited(struct http_req *r); /* whether rate_push would count at all */
bool rate_push(struct http_req *r);           /* as rate_pull, without headers */

/* ---- route handlers, gathered in registry.c ---- */
bool manifest_fast(struct http_req *r);
int manifest_get_run(struct http_req *r, struct err *err);
int manifest_put_run(struct http_req *r, struct err *err);
int manifest_delete_run(struct http_req *r, struct err *err);
bool blob_fast(struct http_req *r);
int blob_get_run(struct http_req *r, struct err *err);
void blob_get_done(struct http_req *r);
int blob_delete_run(struct http_req *r, struct err *err);
int upload_post_begin(struct http_req *r, struct err *err);
int upload_patch_begin(struct http_req *r, struct err *err);
int upload_put_begin(struct http_req *r, struct err *err);
int upload_sink(struct http_req *r, struct str bytes, struct err *err);
int upload_post_run(struct http_req *r, struct err *err);
int upload_patch_run(struct http_req *r, struct err *err);
int upload_put_run(struct http_req *r, struct err *err);
void upload_done(struct http_req *r);
int upload_status_run(struct http_req *r, struct err *err);
int upload_cancel_run(struct http_req *r, struct err *err);
int tags_run(struct http_req *r, struct err *err);
int catalog_run(struct http_req *r, struct err *err);
int rate_preview_run(struct http_req *r, struct err *err);
int referrers_run(struct http_req *r, struct err *err);

#endif
