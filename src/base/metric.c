/* Metrics: per-thread blocks, summed by a scrape. See metric.h. */
#include "base/metric.h"

#include "base/clock.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM };
#define COUNTER TYPE_COUNTER
#define GAUGE TYPE_GAUGE
#define HISTOGRAM TYPE_HISTOGRAM

static const struct {
    int type;
    const char *name, *labels, *help;
} rows[METRIC_COUNT] = {
#define X(id, type, name, labels, help) {type, name, labels, help},
    METRIC_TABLE(X)
#undef X
};

/* Upper bounds in microseconds; one more bucket holds the rest. */
static const int64_t bounds[] = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
                                 500000, 1000000, 5000000, 15000000, 60000000};
enum { BUCKETS = ARRAY_LEN(bounds) + 1 };

/* Only the owner writes, so relaxed load + store suffice; a scrape may read at any time. */
struct block {
    _Atomic uint64_t count[METRIC_COUNT];
    _Atomic uint64_t bucket[BUCKETS]; /* the one histogram, HTTP_LATENCY */
    _Atomic uint64_t sum_us;
    struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;      /* of living threads */
static struct block dead;         /* what ended threads counted */
static _Atomic int64_t gauges[METRIC_COUNT];
static __thread struct block *mine;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void fold(struct block *into, struct block *from)
{
    for (size_t i = 0; i < METRIC_COUNT; i++)
        add(&into->count[i], from->count[i]);
    for (size_t i = 0; i < BUCKETS; i++)
        add(&into->bucket[i], from->bucket[i]);
    add(&into->sum_us, from->sum_us);
}

static void thread_ends(void *p)
{
    struct block *b = p;
    pthread_mutex_lock(&lock);
    for (struct block **at = &blocks; *at != NULL; at = &(*at)->next)
        if (*at == b) {
            *at = b->next;
            break;
        }
    fold(&dead, b);
    pthread_mutex_unlock(&lock);
    mine = NULL;
    free(b);
}

static void make_key(void) { BUG_ON(pthread_key_create(&exit_key, thread_ends) != 0); }

static struct block *block_of_thread(void)
{
    if (__builtin_expect(mine != NULL, 1))
        return mine;
    pthread_once(&once, make_key);
    mine = mem_zalloc(sizeof *mine);
    pthread_setspecific(exit_key, mine);
    pthread_mutex_lock(&lock);
    mine->next = blocks;
    blocks = mine;
    pthread_mutex_unlock(&lock);
    return mine;
}

void metric_add(enum metric_id id, uint64_t n) { add(&block_of_thread()->count[id], n); }
void metric_set(enum metric_id id, int64_t v) { atomic_store(&gauges[id], v); }
void metric_gauge_add(enum metric_id id, int64_t d) { atomic_fetch_add(&gauges[id], d); }

void metric_observe(enum metric_id id, int64_t us)
{
    BUG_ON(id != METRIC_HTTP_LATENCY);
    struct block *b = block_of_thread();
    size_t i = 0;
    while (i < ARRAY_LEN(bounds) && us > bounds[i])
        i++;
    add(&b->bucket[i], 1);
    add(&b->sum_us, us > 0 ? (uint64_t)us : 0);
    add(&b->count[id], 1);
}

static void sum(struct block *total)
{
    memset(total, 0, sizeof *total);
    pthread_mutex_lock(&lock);
    fold(total, &dead);
    for (struct block *b = blocks; b != NULL; b = b->next)
        fold(total, b);
    pthread_mutex_unlock(&lock);
}

uint64_t metric_value(enum metric_id id)
{
    if (rows[id].type == TYPE_GAUGE)
        return (uint64_t)atomic_load(&gauges[id]);
    struct block total;
    sum(&total);
    return total.count[id];
}

static void render_histogram(struct buf *out, const char *name, struct block *total)
{
    uint64_t below = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        below += total->bucket[i];
        if (i < ARRAY_LEN(bounds))
            buf_printf(out, "%s_bucket{le=\"%g\"} %lu\n", name, (double)bounds[i] / 1e6, below);
        else
            buf_printf(out, "%s_bucket{le=\"+Inf\"} %lu\n", name, below);
    }
    buf_printf(out, "%s_sum %.6f\n%s_count %lu\n", name, (double)total->sum_us / 1e6, name, below);
}

static int64_t started;

__attribute__((constructor)) static void note_start(void) { started = clock_now(); }

static void render_process(struct buf *out)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    long fds = -1; /* the directory's own descriptor */
    DIR *d = opendir("/proc/self/fd");
    if (d != NULL) {
        for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
            fds += e->d_name[0] != '.';
        closedir(d);
    }
    struct rusage u = {0};
    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    buf_printf(out,
               "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %ld\n"
               "# TYPE process_open_fds gauge\nprocess_open_fds %ld\n"
               "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.3f\n"
               "# TYPE berth_build_info gauge\nberth_build_info{version=\"" BERTH_VERSION "\"} 1\n",
               pages * sysconf(_SC_PAGESIZE), fds, cpu);
    buf_printf(out, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n",
               (double)started / 1e6);
}

void metric_render(struct buf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct block total;
    sum(&total);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (i == 0 || strcmp(rows[i].name, rows[i - 1].name) != 0)
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help, rows[i].name,
                       types[rows[i].type]);
        if (rows[i].type == TYPE_HISTOGRAM) {
            render_histogram(out, rows[i].name, &total);
            continue;
        }
        buf_cstr(out, rows[i].name);
        if (rows[i].labels[0] != '\0')
            buf_printf(out, "{%s}", rows[i].labels);
        buf_char(out, ' ');
        if (rows[i].type == TYPE_GAUGE)
            buf_i64(out, atomic_load(&gauges[i]));
        else
            buf_u64(out, total.count[i]);
        buf_char(out, '\n');
    }
    render_process(out);
}
