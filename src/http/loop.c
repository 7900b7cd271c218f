/* Event loops: one epoll a thread, edges only; an inbox for what workers give back; a list of
 * connections that used up their turn; a sweep for timeouts twice a second. */
#include "http/http_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

enum { EVENTS = 256, SWEEP_US = 500000 };
#define TAG_WAKE UINT64_MAX
#define TAG_LISTENER 1u /* connections are pointers, hence even */

int loop_init(struct http_loop *l, struct http_server *s, int index, struct err *err)
{
    l->server = s;
    l->index = index;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll < 0 || l->wake < 0)
        return err_sys(err, ERR_INTERNAL, "cannot make an event loop");
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = TAG_WAKE};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &e) != 0)
        return err_sys(err, ERR_INTERNAL, "cannot make an event loop");
    pthread_mutex_init(&l->lock, NULL);
    l->inbox_end = &l->inbox;
    l->ready_end = &l->ready;
    l->scratch = mem_alloc(SEND_CHUNK);
    BUG_ON(getrandom(&l->next_id, sizeof l->next_id, 0) != (ssize_t)sizeof l->next_id);
    return 0;
}

void loop_wake(struct http_loop *l)
{
    uint64_t one = 1;
    ssize_t ignored = write(l->wake, &one, sizeof one);
    (void)ignored; /* EAGAIN: it is awake */
}

void loop_post(struct http_conn *c)
{
    struct http_loop *l = c->loop;
    c->queue_next = NULL;
    pthread_mutex_lock(&l->lock);
    bool first = l->inbox == NULL;
    *l->inbox_end = c;
    l->inbox_end = &c->queue_next;
    pthread_mutex_unlock(&l->lock);
    if (first)
        loop_wake(l);
}

void loop_ready(struct http_conn *c)
{
    struct http_loop *l = c->loop;
    if (c->queued)
        return;
    c->queued = true;
    c->ready_next = NULL;
    *l->ready_end = c;
    l->ready_end = &c->ready_next;
}

void loop_give(struct http_loop *l, struct request *q)
{
    pthread_mutex_lock(&l->lock);
    q->free_next = l->inner;
    l->inner = q;
    pthread_mutex_unlock(&l->lock);
    loop_wake(l);
}

static void run_inbox(struct http_loop *l)
{
    pthread_mutex_lock(&l->lock);
    struct http_conn *c = l->inbox;
    struct request *q = l->inner;
    l->inner = NULL;
    l->inbox = NULL;
    l->inbox_end = &l->inbox;
    pthread_mutex_unlock(&l->lock);
    while (c != NULL) {
        struct http_conn *next = c->queue_next;
        conn_posted(c);
        c = next;
    }
    while (q != NULL) {
        struct request *next = q->free_next;
        request_free(q);
        q = next;
    }
}

/* Those that are ready now; what they queue anew waits for the next round. */
static void run_ready(struct http_loop *l)
{
    struct http_conn *c = l->ready;
    l->ready = NULL;
    l->ready_end = &l->ready;
    while (c != NULL) {
        struct http_conn *next = c->ready_next;
        c->queued = false;
        if (c->dead)
            free(c);
        else
            conn_event(c);
        c = next;
    }
}

static void sweep(struct http_loop *l)
{
    l->swept = l->now;
    for (struct http_conn *c = l->conns, *next; c != NULL; c = next) {
        next = c->next;
        conn_sweep(c, l->now);
    }
    if (l->index == 0)
        accept_resume(l);
}

static void on_event(struct http_loop *l, const struct epoll_event *e)
{
    if (e->data.u64 == TAG_WAKE) {
        uint64_t n;
        ssize_t ignored = read(l->wake, &n, sizeof n);
        (void)ignored;
        return;
    }
    if ((e->data.u64 & TAG_LISTENER) != 0) {
        accept_all(l, l->server->listeners[e->data.u64 >> 1]);
        return;
    }
    struct http_conn *c = e->data.ptr;
    if ((e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        c->hup = c->edge_in = true;
    if ((e->events & EPOLLIN) != 0)
        c->edge_in = true;
    if ((e->events & EPOLLOUT) != 0)
        c->edge_out = true;
    bool wants_room = c->state == CONN_SEND || c->state == CONN_PULL || c->state == CONN_HANDSHAKE;
    if (wants_room ? c->edge_out || c->hup || c->ssl != NULL : c->edge_in)
        conn_event(c);
}

void *loop_main(void *arg)
{
    struct http_loop *l = arg;
    struct http_server *s = l->server;
    struct epoll_event events[EVENTS];
    prctl(PR_SET_NAME, "berth-loop");
    l->now = l->swept = clock_mono();
    while (!atomic_load(&s->stopping)) {
        int n = epoll_wait(l->epoll, events, EVENTS, l->ready ? 0 : SWEEP_US / 1000);
        l->now = clock_mono();
        if (n < 0 && errno != EINTR)
            break;
        for (int i = 0; i < n; i++)
            on_event(l, &events[i]);
        run_inbox(l);
        run_ready(l);
        if (l->now - l->swept >= SWEEP_US)
            sweep(l);
    }
    return NULL;
}

void loop_release(struct http_loop *l)
{
    run_inbox(l);
    while (l->conns != NULL) {
        l->conns->state = CONN_IDLE;
        conn_close(l->conns);
    }
    run_ready(l);
    while (l->free != NULL) {
        struct request *q = l->free;
        l->free = q->free_next;
        l->n_free = SPARE_REQUESTS; /* full: it is freed */
        request_give(l, q);
    }
    free(l->scratch);
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->wake >= 0)
        close(l->wake);
    pthread_mutex_destroy(&l->lock);
}
