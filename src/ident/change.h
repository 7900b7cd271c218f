/* Private: a change of state by a request. What the gate allowed is decided once more inside the
 * transaction, so that a right that was taken away meanwhile takes nobody further; the generations of
 * what is changed move around the commit, so that no loop keeps an old fact; the audit row goes in with
 * the change or not at all. */
#ifndef IDENT_CHANGE_H
#define IDENT_CHANGE_H
#include "ident/ident_int.h"

#include <jansson.h>

enum { CHANGE_NAMES = 3 };
struct change {
    /* Asked of: */
    enum right right;             /* 0: the route's */
    struct str account_name;      /* OBJECT_ACCOUNT; empty: the path's first part */
    int (*fn)(struct db_tx *tx, struct change *c, struct err *err); /* may run more than once */
    void *arg;
    struct str accounts[CHANGE_NAMES], repos[CHANGE_NAMES]; /* names whose facts change, beside the object's own */
    /* For the audit log: */
    const char *action;           /* "org.member.add"; docs/accounts.md lists them */
    struct str object;            /* empty: the object's name */
    json_t *data;                 /* made anew by fn with json_decref of an older one; may be NULL; taken */
    /* As the transaction sees it: */
    struct http_req *r;
    const struct principal *who;
    struct gate now;              /* object and standing */
};
/* fn's result, or what the gate would answer. */
int change_run(struct http_req *r, struct change *c, struct err *err);
#endif
