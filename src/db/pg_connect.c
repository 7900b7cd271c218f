/* Connections to PostgreSQL: parameters, session settings, and the lock that makes one server the
 * owner of the database. */
#include "db/pg_int.h"
#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

enum {
    PATIENCE_WRITER_US = 30 * 1000000,
    PATIENCE_READER_US = 300 * 1000000, /* dumps and checks scan whole tables */
    SERVER_MIN = 150000,
    OWNER_WAIT_US = 2000000, /* a backend that was killed still holds its lock for a moment */
    OWNER_PAUSE_NS = 20000000
};

/* Entries before `dbname` are defaults that the URL may change, those behind it are not. */
static PGconn *open_conn(const char *url)
{
    const char *keys[] = {"connect_timeout",      "application_name", "keepalives_idle",
                          "keepalives_interval",  "keepalives_count", "tcp_user_timeout",
                          "target_session_attrs", "dbname",           "client_encoding",
                          NULL};
    const char *values[] = {"5", "berth", "30", "10", "3", "20000", "read-write",
                            url, "UTF8",  NULL};
    return PQconnectdbParams(keys, values, 1);
}

static void no_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* libpq quotes the faulty part of a URL, which may be the password: such text stays here. */
static int check_url(const char *url, struct err *err)
{
    PQconninfoOption *o = PQconninfoParse(url, NULL);
    if (o == NULL)
        return err_set(err, ERR_USAGE,
                       "the database URL is malformed; "
                       "postgresql://user:password@host:port/name?option=value is allowed");
    PQconninfoFree(o);
    return 0;
}

static int check_server(const struct pg_conn *c, struct err *err)
{
    const char *encoding = PQparameterStatus(c->h, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0)
        return err_set(err, ERR_USAGE, "the database has encoding %s; UTF8 is needed",
                       encoding ? encoding : "unknown");
    if (PQserverVersion(c->h) < SERVER_MIN)
        return err_set(err, ERR_USAGE, "PostgreSQL %d is too old; 15 or newer is needed",
                       PQserverVersion(c->h) / 10000);
    return 0;
}

/* A vanished client must not keep the owner's lock: the server looks after its side, too. */
static const char SESSION[] =
    "SET standard_conforming_strings = on; SET jit = off; SET client_connection_check_interval = "
    "2000; SET idle_in_transaction_session_timeout = 300000";
static const char SESSION_WRITER[] =
    "SET statement_timeout = 25000; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; "
    "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 20000; "
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') IN ('off', 'local')";
static const char OWN[] =
    "SELECT pg_try_advisory_lock(1113085512, hashtext(coalesce(current_schema(), '')))";

static int own(struct pg_conn *c, struct err *err)
{
    int64_t until = clock_mono() + OWNER_WAIT_US;
    for (;;) {
        PGresult *res = NULL;
        int rc = pg_script(c, OWN, &res, err);
        if (rc < 0)
            return rc;
        bool got = PQntuples(res) == 1 && PQgetvalue(res, 0, 0)[0] == 't';
        PQclear(res);
        if (got)
            return 0;
        if (clock_mono() >= until || atomic_load(&c->base.db->deadline) != 0)
            return err_set(err, ERR_UNAVAILABLE,
                           "another server owns this database; only one may use it at a time");
        nanosleep(&(struct timespec){0, OWNER_PAUSE_NS}, NULL);
    }
}

static int set_up(struct pg_conn *c, struct err *err)
{
    int rc = check_server(c, err);
    if (rc < 0)
        return rc;
    PQsetNoticeProcessor(c->h, no_notice, NULL);
    if (PQsetnonblocking(c->h, 1) < 0 || !PQenterPipelineMode(c->h))
        return pg_lost(c, "connect", err);
    rc = pg_script(c, SESSION, NULL, err);
    if (rc == 0 && c->role == DB_WRITER && (rc = pg_script(c, SESSION_WRITER, NULL, err)) == 0)
        rc = own(c, err);
    return rc;
}

static void free_stmt(void *arg, void *stmt)
{
    (void)arg;
    free(stmt);
}

void pg_disconnect(struct db_conn *base)
{
    struct pg_conn *c = (struct pg_conn *)base;
    stmt_release(&c->map, free_stmt, NULL);
    PQfinish(c->h);
    free(c);
}

int pg_connect(struct db *db, enum db_role role, struct db_conn **ret, struct err *err)
{
    int rc = check_url(db->url, err);
    if (rc < 0)
        return rc;
    struct pg_conn *c = mem_zalloc(sizeof *c);
    c->base.db = db;
    c->role = role;
    c->patience = role == DB_WRITER ? PATIENCE_WRITER_US : PATIENCE_READER_US;
    c->h = open_conn(db->url);
    if (c->h == NULL)
        rc = err_set(err, ERR_UNAVAILABLE, "database: out of memory");
    else if (PQstatus(c->h) != CONNECTION_OK)
        rc = err_set(err, ERR_UNAVAILABLE, "the database is away: %s",
                     PQerrorMessage(c->h));
    else
        rc = set_up(c, err);
    if (rc < 0) {
        pg_disconnect(&c->base);
        return rc;
    }
    *ret = &c->base;
    return 0;
}
