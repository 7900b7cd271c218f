/* The worker pool: runs what may block. One queue of connections, one of the rooms' own jobs; when both
 * wait they take turns, so that connections without end starve no job. More threads are there than
 * work at a time, for those that stand aside in a line (http_aside). */
#include "http/http_int.h"

#include <stdlib.h>
#include <sys/prctl.h>

static __thread char *buffer;

char *work_buffer(void)
{
    if (buffer == NULL)
        buffer = mem_alloc(READ_CHUNK);
    return buffer;
}

/* With work_lock held. */
static void busy_change(struct http_server *s, int step)
{
    s->busy += step;
    if (step < 0 && atomic_load(&s->stopping))
        pthread_cond_broadcast(&s->work_cond); /* who was too many may end now */
    else if (step < 0 && (s->work != NULL || s->jobs != NULL))
        pthread_cond_signal(&s->work_cond);
}

void http_aside(struct http_server *s, bool aside)
{
    pthread_mutex_lock(&s->work_lock);
    busy_change(s, aside ? -1 : 1);
    pthread_mutex_unlock(&s->work_lock);
}

static void *work_main(void *arg)
{
    struct http_server *s = arg;
    prctl(PR_SET_NAME, "berth-work");
    pthread_mutex_lock(&s->work_lock);
    for (;;) {
        bool full = s->busy >= s->max_busy;
        struct http_conn *c = full ? NULL : s->work;
        struct work *j = full ? NULL : s->jobs;
        if (j != NULL && (c == NULL || s->job_turn)) {
            s->jobs = j->next;
            if (s->jobs == NULL)
                s->jobs_end = &s->jobs;
            s->job_turn = false;
            c = NULL;
        } else if (c != NULL) {
            s->work = c->queue_next;
            if (s->work == NULL)
                s->work_end = &s->work;
            s->job_turn = true;
        } else if (!full && atomic_load(&s->stopping)) {
            break;
        } else {
            pthread_cond_wait(&s->work_cond, &s->work_lock);
            continue;
        }
        s->busy++;
        pthread_mutex_unlock(&s->work_lock);
        if (c != NULL) {
            request_work(c);
        } else {
            j->fn(j->arg);
            free(j);
        }
        pthread_mutex_lock(&s->work_lock);
        busy_change(s, -1);
    }
    pthread_mutex_unlock(&s->work_lock);
    free(buffer);
    buffer = NULL;
    return NULL;
}

void work_push(struct http_conn *c)
{
    struct http_server *s = c->loop->server;
    c->queue_next = NULL;
    pthread_mutex_lock(&s->work_lock);
    *s->work_end = c;
    s->work_end = &c->queue_next;
    pthread_cond_signal(&s->work_cond);
    pthread_mutex_unlock(&s->work_lock);
}

void http_work(struct http_server *s, void (*fn)(void *arg), void *arg)
{
    struct work *j = mem_alloc(sizeof *j);
    *j = (struct work){NULL, fn, arg};
    pthread_mutex_lock(&s->work_lock);
    *s->jobs_end = j;
    s->jobs_end = &j->next;
    pthread_cond_signal(&s->work_cond);
    pthread_mutex_unlock(&s->work_lock);
}

int work_start(struct http_server *s, struct err *err)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 << 10);
    s->workers = mem_zalloc(size_mul((size_t)s->n_workers, sizeof *s->workers));
    int want = s->n_workers;
    for (s->n_workers = 0; s->n_workers < want; s->n_workers++)
        if (pthread_create(&s->workers[s->n_workers], &attr, work_main, s) != 0)
            break;
    pthread_attr_destroy(&attr);
    return s->n_workers > 0 ? 0 : err_set(err, ERR_INTERNAL, "cannot start worker threads");
}

void work_stop(struct http_server *s)
{
    pthread_mutex_lock(&s->work_lock);
    atomic_store(&s->stopping, true);
    pthread_cond_broadcast(&s->work_cond);
    pthread_mutex_unlock(&s->work_lock);
    for (int i = 0; s->workers != NULL && i < s->n_workers; i++)
        pthread_join(s->workers[i], NULL);
    free(s->workers);
    s->workers = NULL;
}
