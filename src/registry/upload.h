/* Private: upload sessions.
 *
 * A session without bytes lives in memory only (docs/adr/0004-empty-upload-sessions.md); once bytes
 * were acknowledged it is a row and a file, and memory holds it only while somebody works on it.
 * Exactly one request works on a session at a time: it holds the claim. */
#ifndef REGISTRY_UPLOAD_H
#define REGISTRY_UPLOAD_H
#include "registry/registry_int.h"

enum { UPLOAD_ID_LEN = 32 };
struct upload {
    struct upload *next; /* of its bucket */
    char id[UPLOAD_ID_LEN + 1];
    char *name; /* canonical repository name */
    int64_t user_id, created, touched;
    enum digest_alg alg;  /* of `hash` */
    int64_t size;         /* acknowledged bytes */
    struct hash hash;     /* of these */
    bool hashed;          /* false: a resumed session whose state was lost */
    bool row, file;       /* has a database row; has a file */
    bool reserved;        /* may have a reservation of bytes without having a row */
    bool one_shot;        /* of a single POST: ends with its request */
    bool busy, cancelled; /* under the table's lock */
};

/* Makes a session; claimed: for the caller's own use at once. ERR_TOOMANYREQUESTS above
 * max_uploads_per_user. */
int upload_new(struct registry *g, struct str name, int64_t user_id, enum digest_alg alg,
               bool claimed, struct upload **ret, char ret_id[UPLOAD_ID_LEN + 1], struct err *err);
/* ERR_BLOB_UPLOAD_UNKNOWN: no such session of this user in this repository (T20). ERR_UPLOAD_RANGE:
 * another request is at work on it. */
int upload_claim(struct registry *g, struct str id, struct str name, int64_t user_id,
                 struct upload **ret, struct err *err);
/* Gives the claim back; gone: the session has ended (its row and file are the caller's duty). When
 * it was cancelled meanwhile, removes row and file, too, and returns true. Consumes u. */
bool upload_unclaim(struct registry *g, struct upload *u, bool gone);
/* The holder of the claim made `size` bytes with hash state h durable: file and row. */
void upload_saved(struct registry *g, struct upload *u, int64_t size, const struct hash *h);
int upload_peek(struct registry *g, struct str id, struct str name, int64_t user_id,
                int64_t *ret_size, struct err *err);
int upload_cancel(struct registry *g, struct str id, struct str name, int64_t user_id,
                  struct err *err);

/* ---- upload_sql.c ---- */
struct upload_row {
    int64_t user_id, alg, size, created;
    char name[NAME_MAX_BYTES + 16];
    uint8_t state[HASH_STATE_MAX];
    size_t state_n;
};
int upload_tx_find(struct db_tx *tx, const char *id, struct upload_row *ret,
                   struct err *err); /* 1, 0 */
int upload_tx_save(struct db_tx *tx, const struct upload *u, int64_t repo_id, int64_t size,
                   const struct hash *h, struct err *err);
int upload_tx_delete(struct db_tx *tx, const char *id, struct err *err); /* and its reservation of bytes */
int upload_tx_count(struct db_tx *tx, int64_t user_id, int64_t *ret,
                    struct err *err); /* user 0: all */
int upload_tx_expired(struct db_tx *tx, int64_t before, char ids[][UPLOAD_ID_LEN + 1], size_t max,
                      size_t *ret_n, struct err *err);

/* ---- upload_io.c: a claimed session with its file open ---- */
struct upload_io {
    struct registry *g;
    struct http_server *server;
    struct upload *u; /* claimed; NULL once given back */
    struct staging *file;
    struct hash hash;      /* of all bytes in the file, acknowledged or not */
    int64_t range_length;  /* announced by Content-Range; -1 not */
    int64_t received;      /* by this request */
    bool failed;           /* what was received is not worth keeping */
    bool saving;           /* a transaction that names them was begun */
    struct principal *who; /* referenced */
    bool absent;
    bool over_quota;       /* the account's plan leaves no room: the session ends */
    int64_t account_id;    /* whose namespace it is; 0 nobody's yet */
    int64_t room;          /* bytes that its file may have as things are reserved */
    struct digest digest; /* of a closing request */
};
/* ---- charge.c: ERR_QUOTA sets over_quota */
/* Reserves what the request announces, or finds that nothing need be reserved. */
int charge_open(struct upload_io *io, const struct http_req *r, struct err *err);
int charge_more(struct upload_io *io, int64_t end, struct err *err); /* before the file gets `end` bytes */
/* Opens the claimed session's file at its acknowledged end; consumes the claim on failure. */
int upload_io_open(struct registry *g, struct upload *u, const struct http_req *r,
                   struct upload_io **ret, struct err *err);
int upload_io_append(struct upload_io *io, struct str bytes, struct err *err);
/* Makes what was received durable and acknowledges it in the session. */
int upload_io_save(struct upload_io *io, struct err *err);
/* Checks the digest and turns the session into a blob linked in the repository; the session has
 * ended then, also when the digest did not match. */
int upload_io_commit(struct upload_io *io, struct err *err);
/* Gives claim and memory back; true when the session was cancelled meanwhile. */
bool upload_io_close(struct upload_io *io, bool gone);
/* For a request that broke off: keeps the bytes that came, on a worker. Consumes io. */
void upload_io_abandon(struct http_server *server, struct upload_io *io);
#endif
