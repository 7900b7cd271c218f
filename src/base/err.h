/* Errors: one table knows each code's HTTP status and OCI error code.
 *
 * Functions return 0 or a negative `enum err_code`; the last parameter is `struct err *`.
 * err_set at the source, err_wrap on the way up, logged once at the door. Success never
 * touches *err. Outputs named ret_x are written only on success.
 * OCI codes: a 4xx may only bear a code of distribution-spec's "Error Codes" table (TAG_INVALID is of
 * its legacy section); UNKNOWN and UNAVAILABLE are for 5xx, which the specification leaves open. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/text.h"

/* X(name, http status, code in the JSON body) */
#define ERR_TABLE(X)                                                                               \
    X(INTERNAL, 500, "UNKNOWN")                                                                    \
    X(IO, 500, "UNKNOWN")                   /* a disk or socket call failed */                    \
    X(CORRUPT, 500, "UNKNOWN")              /* stored bytes do not match their digest */           \
    X(DB, 500, "UNKNOWN")                                                                          \
    X(RETRY, 503, "UNAVAILABLE")            /* serialization failure: run the callback again */    \
    X(UNAVAILABLE, 503, "UNAVAILABLE")      /* overload, database away, shutting down */           \
    X(READ_ONLY, 503, "UNAVAILABLE")        /* read-only switch, or the volume failed (D3) */      \
    X(STORAGE_FULL, 507, "DENIED")          /* below the low-water mark, or ENOSPC */              \
    X(QUOTA, 403, "DENIED")                 /* a limit of the caller's is used up */               \
    X(NOT_FOUND, 404, "UNSUPPORTED")        /* no such path */                                     \
    X(EXISTS, 409, "DENIED")                                                                       \
    X(CONFLICT, 409, "DENIED")              /* as things stand it cannot be done: the last owner */\
    X(PRECONDITION, 412, "DENIED")          /* If-Match names another state */                     \
    X(IDEMPOTENCY, 422, "UNSUPPORTED")      /* an Idempotency-Key was used for something else */   \
    X(CREDENTIAL, 403, "DENIED")            /* the person may, but not with this credential */     \
    X(INVALID, 400, "UNSUPPORTED")          /* malformed request of no finer class */              \
    X(FIELDS, 400, "UNSUPPORTED")           /* wrong fields; http_fault names them */              \
    X(MEDIA_TYPE, 415, "UNSUPPORTED")                                                              \
    X(METHOD, 405, "UNSUPPORTED")                                                                  \
    X(TOO_LARGE, 413, "SIZE_INVALID")                                                              \
    X(URI_TOO_LONG, 414, "UNSUPPORTED")                                                            \
    X(HEADERS_TOO_LARGE, 431, "UNSUPPORTED")                                                       \
    X(TIMEOUT, 408, "UNSUPPORTED")                                                                 \
    X(LENGTH_REQUIRED, 411, "SIZE_INVALID")                                                        \
    X(EXPECT, 417, "UNSUPPORTED")                                                                  \
    X(NOT_IMPLEMENTED, 501, "UNSUPPORTED")                                                         \
    X(BLOB_UNKNOWN, 404, "BLOB_UNKNOWN")                                                           \
    X(BLOB_UPLOAD_INVALID, 400, "BLOB_UPLOAD_INVALID")                                             \
    X(BLOB_UPLOAD_UNKNOWN, 404, "BLOB_UPLOAD_UNKNOWN")                                             \
    X(UPLOAD_RANGE, 416, "BLOB_UPLOAD_INVALID") /* out-of-order chunk */                           \
    X(RANGE, 416, "SIZE_INVALID")           /* unsatisfiable Range of a GET */                     \
    X(DIGEST_INVALID, 400, "DIGEST_INVALID")                                                       \
    X(MANIFEST_BLOB_UNKNOWN, 404, "MANIFEST_BLOB_UNKNOWN")                                         \
    X(MANIFEST_INVALID, 400, "MANIFEST_INVALID")                                                   \
    X(MANIFEST_TOO_LARGE, 413, "MANIFEST_INVALID")                                                 \
    X(MANIFEST_UNKNOWN, 404, "MANIFEST_UNKNOWN")                                                   \
    X(TAG_INVALID, 400, "TAG_INVALID")                                                             \
    X(NAME_INVALID, 400, "NAME_INVALID")                                                           \
    X(NAME_UNKNOWN, 404, "NAME_UNKNOWN")                                                           \
    X(SIZE_INVALID, 400, "SIZE_INVALID")                                                           \
    X(UNAUTHORIZED, 401, "UNAUTHORIZED")                                                           \
    X(SECOND_FACTOR_REQUIRED, 401, "UNAUTHORIZED") /* the password is right; r->ticket goes on */  \
    X(FRESH_LOGIN_REQUIRED, 403, "DENIED")  /* the login is too long ago for this */               \
    X(DENIED, 403, "DENIED")                                                                       \
    X(UNSUPPORTED, 405, "UNSUPPORTED")                                                             \
    X(TOOMANYREQUESTS, 429, "TOOMANYREQUESTS")                                                     \
    X(USAGE, 400, "UNSUPPORTED")            /* command line or configuration */

enum err_index {
#define X(name, status, oci) ERR_INDEX_##name,
    ERR_TABLE(X)
#undef X
        ERR_INDEX_COUNT
};
enum err_code {
#define X(name, status, oci) ERR_##name = -1 - ERR_INDEX_##name,
    ERR_TABLE(X)
#undef X
};

enum { ERR_TEXT_MAX = 512 };
struct err {
    int code;                 /* 0 or enum err_code */
    int sys;                  /* errno at the source, or 0 */
    char text[ERR_TEXT_MAX];  /* what went wrong and what is allowed; safe to show */
};

/* Set and return the code: `return err_set(err, ERR_DIGEST_INVALID, "...")`. err may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set, with errno's text appended; ENOSPC/EDQUOT turn ERR_IO into ERR_STORAGE_FULL,
 * EROFS into ERR_READ_ONLY. */
int err_sys(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Prepend context ("text: old"); returns err->code. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int err_status(int code);         /* HTTP status */
const char *err_oci(int code);    /* code for the OCI error body */
const char *err_name(int code);   /* "DIGEST_INVALID", for logs and metrics */

#endif
