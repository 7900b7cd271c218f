/* Private contract of the JSON frame. */
#ifndef REST_REST_INT_H
#define REST_REST_INT_H
#include "rest/rest.h"

#include <pthread.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 100, CURSOR_MAX = 1024, FAULTS_MAX = 20, DOCUMENT_MAX = 8 << 20, ETAG_MAX = 48 };

struct rest {
    struct rest_options o;
    const struct rest_route **rows;
    size_t n_rows;
    char *document;
    struct idem_table *keys;
};

/* --- openapi.c */
int document_make(struct rest *x, struct err *err);
bool documented(const struct rest *x, const struct rest_route *row, unsigned status);
unsigned success_of(const struct rest_route *row);
/* --- idem.c */
struct idem_table *idem_new(void);
void idem_free(struct idem_table *t);
/* The key of a request: 0 none, or it is new and c->idem is set; 1 answered as before; ERR_IDEMPOTENCY,
 * ERR_CONFLICT (the first one still runs), ERR_FIELDS (malformed). */
int idem_begin(struct rest_call *c, struct err *err);
void idem_keep(struct rest_call *c, unsigned status, struct str body); /* the answer to be */
void idem_end(struct rest_call *c);           /* forgets the key unless an answer was kept */
#endif
