/* Private to the PostgreSQL engine: a connection and how its answers are waited for.
 *
 * All statements go through libpq's pipeline mode. Control commands (BEGIN, SAVEPOINT, ...) are
 * only queued and travel with the next statement, so a point read costs one round trip and a
 * callback of n statements n. Nothing waits without a limit: the socket is non-blocking and every
 * wait ends at the connection's patience or at the deadline of db_close. */
#ifndef DB_PG_INT_H
#define DB_PG_INT_H
#include "db/db_int.h"

#include <libpq-fe.h>

enum { PG_CONTROLS = 8 };

struct pg_conn {
    struct db_conn base;
    PGconn *h;
    enum db_role role;
    const char *controls[PG_CONTROLS]; /* queued, not sent */
    size_t n_controls;
    bool draining; /* an answer nobody waits for (COMMIT of a read) is still to come */
    bool begun;    /* something of the transaction was sent */
    bool marked;
    uint64_t names;   /* of prepared statements */
    int64_t patience; /* microseconds of silence after which the connection is given up */
    struct stmt_map map;
};

/* ---- pg_wire.c ---- */
/* Waits until PQgetResult does not block; sends what is unsent. ERR_UNAVAILABLE and base.lost. */
int pg_wait(struct pg_conn *c, struct err *err);
/* What a failed result means, as a code; sets base.lost. res may be NULL. */
int pg_fail(struct pg_conn *c, const PGresult *res, const char *what, struct err *err);
int pg_lost(struct pg_conn *c, const char *what, struct err *err);
/* Reads the answers up to the pipeline's sync; the last one into *ret (PQclear it) when all are
 * good. */
int pg_collect(struct pg_conn *c, const char *what, PGresult **ret, struct err *err);
/* Sends the queued controls (no sync). */
int pg_send_controls(struct pg_conn *c, struct err *err);
/* Queues; flushes first when the queue is full. */
int pg_control(struct pg_conn *c, const char *text, struct err *err);
/* Sends the queued controls and waits for their answers; *ret (may be NULL) the last one's. */
int pg_flush(struct pg_conn *c, const char *what, PGresult **ret, struct err *err);
int pg_drain(struct pg_conn *c, struct err *err);
/* A simple query of any number of statements, outside the pipeline. */
int pg_script(struct pg_conn *c, const char *text, PGresult **ret, struct err *err);

/* ---- pg_connect.c ---- */
int pg_connect(struct db *db, enum db_role role, struct db_conn **ret, struct err *err);
void pg_disconnect(struct db_conn *c);
#endif
