/* Waiting for PostgreSQL and reading its answers. */
#include "db/pg_int.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

enum { SLICE_MS = 200 };

int pg_lost(struct pg_conn *c, const char *what, struct err *err)
{
    c->base.lost = true;
    return err_set(err, ERR_UNAVAILABLE, "database: %.48s: the connection was lost", what);
}

static const struct {
    const char *state; /* SQLSTATE or its first two characters */
    int code;
    bool lost;
} states[] = {
    {"40001", ERR_RETRY, false},       {"40P01", ERR_RETRY, false},
    {"23505", ERR_EXISTS, false},      {"53100", ERR_STORAGE_FULL, false},
    {"53", ERR_UNAVAILABLE, false},    {"57014", ERR_UNAVAILABLE, false},
    {"55P03", ERR_UNAVAILABLE, false}, {"57", ERR_UNAVAILABLE, true},
    {"08", ERR_UNAVAILABLE, true},     {"25006", ERR_UNAVAILABLE, true}, /* now a standby */
    {"25P03", ERR_UNAVAILABLE, true},  {"58030", ERR_IO, false},
};

int pg_fail(struct pg_conn *c, const PGresult *res, const char *what, struct err *err)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    int code = ERR_DB;
    for (size_t i = 0; state != NULL && i < ARRAY_LEN(states); i++) {
        if (strncmp(state, states[i].state, strlen(states[i].state)) == 0) {
            code = states[i].code;
            c->base.lost = c->base.lost || states[i].lost;
            break;
        }
    }
    if (PQstatus(c->h) == CONNECTION_BAD)
        return pg_lost(c, what, err);
    return err_set(err, code, "database: %.48s: %s (%s)", what, text ? text : "no answer",
                   state ? state : "-");
}

static int64_t wait_until(const struct pg_conn *c)
{
    int64_t until = clock_mono() + c->patience;
    int64_t closing = atomic_load(&c->base.db->deadline);
    return closing != 0 && closing < until ? closing : until;
}

int pg_wait(struct pg_conn *c, struct err *err)
{
    int64_t until = wait_until(c);
    for (;;) {
        int unsent = PQflush(c->h);
        if (unsent < 0)
            return pg_lost(c, "send", err);
        if (unsent == 0 && !PQisBusy(c->h))
            return 0;
        short events = unsent ? POLLIN | POLLOUT : POLLIN;
        struct pollfd p = {.fd = PQsocket(c->h), .events = events};
        int rc = poll(&p, 1, SLICE_MS);
        if (rc < 0 && errno != EINTR)
            return pg_lost(c, "poll", err);
        if (rc > 0 && (p.revents & ~POLLOUT) != 0) {
            if (!PQconsumeInput(c->h))
                return pg_lost(c, "receive", err);
            until = wait_until(c); /* it lives */
        }
        int64_t closing = atomic_load(&c->base.db->deadline);
        int64_t now = clock_mono();
        if (now >= until || (closing != 0 && now >= closing)) {
            c->base.lost = true;
            return err_set(err, ERR_UNAVAILABLE, "database: no answer in time");
        }
    }
}

int pg_collect(struct pg_conn *c, const char *what, PGresult **ret, struct err *err)
{
    PGresult *last = NULL;
    int rc = 0;
    for (;;) {
        struct err *first = rc < 0 ? NULL : err;
        int waited = pg_wait(c, first);
        if (waited < 0) {
            rc = rc < 0 ? rc : waited;
            break;
        }
        PGresult *res = PQgetResult(c->h);
        if (res == NULL && PQstatus(c->h) == CONNECTION_BAD) {
            rc = rc < 0 ? rc : pg_lost(c, what, first);
            break;
        }
        if (res == NULL)
            continue; /* the end of one command's answers */
        ExecStatusType status = PQresultStatus(res);
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            break;
        }
        if (rc == 0 && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)) {
            PQclear(last);
            last = res;
            continue;
        }
        if (rc == 0) /* those that follow are PGRES_PIPELINE_ABORTED */
            rc = pg_fail(c, res, what, err);
        PQclear(res);
    }
    if (rc < 0 || ret == NULL)
        PQclear(last);
    else
        *ret = last;
    return rc;
}

int pg_send_controls(struct pg_conn *c, struct err *err)
{
    for (size_t i = 0; i < c->n_controls; i++) {
        if (!PQsendQueryParams(c->h, c->controls[i], 0, NULL, NULL, NULL, NULL, 0))
            return pg_lost(c, c->controls[i], err);
    }
    c->begun = c->begun || c->n_controls > 0;
    c->n_controls = 0;
    return 0;
}

int pg_flush(struct pg_conn *c, const char *what, PGresult **ret, struct err *err)
{
    int rc = pg_drain(c, err);
    if (rc < 0 || (rc = pg_send_controls(c, err)) < 0)
        return rc;
    if (!PQpipelineSync(c->h))
        return pg_lost(c, what, err);
    return pg_collect(c, what, ret, err);
}

int pg_control(struct pg_conn *c, const char *text, struct err *err)
{
    int rc = c->n_controls == PG_CONTROLS ? pg_flush(c, text, NULL, err) : 0;
    if (rc == 0)
        c->controls[c->n_controls++] = text;
    return rc;
}

int pg_drain(struct pg_conn *c, struct err *err)
{
    if (!c->draining)
        return 0;
    c->draining = false;
    int rc = pg_collect(c, "COMMIT", NULL, err);
    if (rc < 0)
        c->base.lost = true; /* a read's end that fails: nothing to save here */
    return rc;
}

static int leave_pipeline(struct pg_conn *c, struct err *err)
{
    return PQexitPipelineMode(c->h) ? 0 : pg_lost(c, "pipeline", err);
}

int pg_script(struct pg_conn *c, const char *text, PGresult **ret, struct err *err)
{
    PGresult *last = NULL, *res;
    int rc = pg_flush(c, "script", NULL, err);
    if (rc < 0 || (rc = leave_pipeline(c, err)) < 0)
        return rc;
    if (!PQsendQuery(c->h, text))
        return pg_lost(c, "script", err);
    while ((rc = pg_wait(c, err)) == 0 && (res = PQgetResult(c->h)) != NULL) {
        bool failed = last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR;
        PQclear(failed ? res : last);
        last = failed ? last : res;
    }
    if (rc == 0 && last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR)
        rc = pg_fail(c, last, "script", err);
    if (!c->base.lost && !PQenterPipelineMode(c->h) && rc == 0)
        rc = pg_lost(c, "pipeline", err);
    if (rc < 0 || ret == NULL)
        PQclear(last);
    else
        *ret = last;
    return rc;
}
