/* Private: sending bytes of a blob that sendfile cannot send: parts of it, or a file still to be
 * verified. */
#ifndef REGISTRY_BLOB_IO_H
#define REGISTRY_BLOB_IO_H
#include "registry/range.h"
#include "registry/registry_int.h"

enum { VERIFY_HOLD = 64 << 10, VERIFY_FIRST_MAX = 1 << 20 };

/* ---- blob_file.c */
struct blob_file {
    struct shared shared;
    struct blob_file *next, **bucket;
    struct digest digest;
    int fd;
};
struct blob_files *blob_files_new(size_t loops); /* one for each loop, in one piece; free() it */
/* Loop thread: a reference to the open file, and what it looks like now; row: as it was verified. */
int blob_file_open(struct registry *g, int loop, const struct digest *d, const struct blob_row *row,
                   struct blob_file **ret, struct blob_stat *ret_stat, struct err *err);

/* First member of what stands in r->ctx of a blob GET: blob_get_done closes it. */
struct blob_io {
    int fd;
};
struct parts_send {
    struct blob_io io;
    struct multipart layout;
};
struct verify_send {
    struct blob_io io;
    struct registry *g;
    struct http_server *server;
    struct digest digest;
    int64_t size, hashed;
    struct hash hash;
    bool good, bad;
};
/* Both live in the request's arena and take fd. */
struct parts_send *parts_send_new(struct http_req *r, int fd, const struct range_set *set,
                                  int64_t size);
int parts_pull(void *arg, int64_t offset, void *p, size_t cap, size_t *ret_n, struct err *err);
struct verify_send *verify_send_new(struct http_req *r, struct registry *g, const struct digest *d,
                                    int fd, int64_t size);
int verify_pull(void *arg, int64_t offset, void *p, size_t cap, size_t *ret_n, struct err *err);

/* On the worker pool, later: look again and quarantine; remember a verification in the row. */
void blob_suspect(struct http_server *server, struct registry *g, const struct digest *d);
void blob_verified(struct http_server *server, struct registry *g, const struct digest *d,
                   const struct blob_stat *st);
#endif
