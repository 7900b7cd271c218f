/* Private: the check of everything against everything. fsck.c runs it and reports; fsck_files.c
 * looks at blobs, files and uploads, fsck_rows.c at manifests, tags, links and
 * what accounts are charged with; fsck_sql.c has the statements.
 *
 * It may run beside pushes and the collector: what one snapshot of the database says is consistent
 * by itself; what compares rows with files is looked at again under the digest's lock, or with the
 * session claimed, before it is called a problem. */
#ifndef REGISTRY_FSCK_H
#define REGISTRY_FSCK_H
#include "registry/upkeep.h"
#include "registry/upload.h"

struct fsck {
    struct registry *g;
    bool full, repair;
    registry_report out;
    void *arg;
    const char *step;
    int64_t done, next_progress;
    int64_t problems, repaired, notes;
    int64_t blobs, bytes, manifests, tags, links, uploads, files;
};
struct finding {
    const char *code, *text;
    bool note; /* nothing is lost and upkeep sees to it, or it is allowed: not counted */
    bool repaired;
    const struct digest *digest; /* this and the next may be NULL */
    const char *repository, *tag, *upload;
};
/* These return what registry_report says: 0, or anything else ends the run. */
int fsck_say(struct fsck *f, const struct finding *x, struct err *err);
int fsck_progress(struct fsck *f, struct err *err); /* once for each thing looked at */
void fsck_begin(struct fsck *f, const char *step);

int fsck_blobs(struct fsck *f, struct err *err);
int fsck_stray_files(struct fsck *f, struct err *err);
int fsck_uploads(struct fsck *f, struct err *err);
int fsck_manifests(struct fsck *f, struct err *err);
int fsck_tags(struct fsck *f, struct err *err);
int fsck_links(struct fsck *f, struct err *err);
int fsck_usage(struct fsck *f, struct err *err);
/* Hashes the file and, when it is right, makes the blob's row good (also a missing row): 1 good
 * now, 0 the file is wrong or missing. */
int fsck_adopt_blob(struct registry *g, const struct digest *d, struct err *err);

/* ---- fsck_sql.c: pages by key; every row comes with what is to be known about it ---- */
enum { FSCK_PAGE = 128 };
struct fsck_blob {
    struct raw_key key;
    struct digest digest; /* alg DIGEST_NONE: malformed */
    int64_t size, state;
    bool linked, queued;
};
int fsck_tx_blobs(struct db_tx *tx, const struct raw_key *after, struct fsck_blob *rows,
                  size_t *ret_n, struct err *err);
struct fsck_manifest {
    int64_t id, repo_id, refs, unlinked; /* references in all; blobs without a link */
    struct raw_key key;
    struct digest digest;
    char name[NAME_MAX_BYTES + 1];
};
int fsck_tx_manifests(struct db_tx *tx, int64_t after, struct fsck_manifest *rows, size_t *ret_n,
                      struct err *err);
int fsck_tx_has_ref(struct db_tx *tx, const struct fsck_manifest *m, const struct manifest_ref *ref,
                    struct err *err); /* 1, 0 */
int fsck_tx_drop_refs(struct db_tx *tx, int64_t manifest_id, struct err *err);
int fsck_tx_put_ref(struct db_tx *tx, const struct fsck_manifest *m, const struct manifest_ref *ref,
                    struct err *err);
enum fsck_tag_state { TAG_GOOD, TAG_DANGLING, TAG_OTHER_DIGEST };
struct fsck_tag {
    int64_t repo_id;
    char tag[TAG_MAX + 1], name[NAME_MAX_BYTES + 1];
    enum fsck_tag_state state;
};
int fsck_tx_tags(struct db_tx *tx, const struct fsck_tag *after, struct fsck_tag *rows,
                 size_t *ret_n, struct err *err);
/* Drops a tag without a manifest of its repository, or gives it its manifest's digest. */
int fsck_tx_fix_tag(struct db_tx *tx, const struct fsck_tag *t, struct err *err);
struct fsck_link {
    int64_t repo_id;
    struct raw_key key;
    struct digest digest;
    bool blob, referenced, queued;
    char name[NAME_MAX_BYTES + 1];
};
int fsck_tx_links(struct db_tx *tx, const struct fsck_link *after, struct fsck_link *rows,
                  size_t *ret_n, struct err *err);
/* Drops a link that has no blob's row. */
int fsck_tx_drop_link(struct db_tx *tx, const struct fsck_link *l, struct err *err);
/* What is charged and not held, held and not charged, or summed up wrongly; and makes it right. */
int fsck_tx_usage(struct db_tx *tx, int64_t *ret_wrong, struct err *err);
int fsck_tx_fix_usage(struct db_tx *tx, struct err *err);
struct fsck_upload {
    char id[UPLOAD_ID_LEN + 1], name[NAME_MAX_BYTES + 1];
    int64_t user_id, size;
    bool seen;  /* its file, of any length */
    bool found; /* with all its bytes */
};
int fsck_tx_uploads(struct db_tx *tx, const char *after, struct fsck_upload *rows, size_t *ret_n,
                    struct err *err);
#endif
