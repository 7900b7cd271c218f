/* A ring: counted events in a mapped file, so that a kill of the process loses none.
 *
 * Two halves take turns. The writer appends records to the open half; an event like an earlier one
 * only raises that record's count. After the window it closes the half and opens the other, if the
 * reader has given that one back; otherwise it goes on in the old one. The reader writes `done`
 * beside what it has stored, so it may also empty the open half of a loop without work. Nobody waits
 * for anybody: without room the event is counted as lost.
 *
 * Who writes what: the writer `state` to CLOSED or OPEN, `used`, `seen`, `at`, `lost`; the reader
 * `state` to FREE, `done`, `target`, `batch`. `target` is what `done` will be once the batch is in
 * the database. A power cut may leave any of the file's pages old: records have a checksum. */
#include "audit/audit_int.h"
#include "base/clock.h"
#include "base/hashkey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 4096, PROBES = 32, MIN_BYTES = 64 << 10, MAX_BYTES = 64 << 20, RECORD_STEP = 128 };
enum { KEY_INTS = 4, KEY_TEXTS = 6, KEY_DATA_MAX = 1024 };
enum { KEY_MAX = KEY_INTS * 8 + KEY_TEXTS * 2 + 3 * AUDIT_NAME_MAX + AUDIT_OBJECT_MAX + AUDIT_CLIENT_MAX + KEY_DATA_MAX };
static const uint64_t MAGIC = 0x31676e6972726542u; /* "Berring1" */
enum half_state { FREE, OPEN, CLOSED };

struct head {
    uint64_t magic;
    uint64_t bytes; /* of a half, its own head included */
    _Atomic int64_t batch;
    _Atomic uint64_t lost;
    uint64_t lost_done, lost_target;
};
struct half {
    _Atomic uint32_t state;
    _Atomic uint32_t used; /* bytes of records */
    uint64_t pad[7];
    uint8_t records[];
};
struct ring_record {
    uint32_t size, key_n; /* size: whole, a multiple of 8 */
    uint64_t sum;
    _Atomic uint64_t seen;
    _Atomic int64_t at; /* of the last event */
    uint64_t done, target;
    uint8_t key[];
};

struct ring {
    struct head *head;
    size_t mapped, room; /* room: bytes of records in a half */
    int64_t window;
    int open;                  /* the writer's half */
    _Atomic int64_t opened_at; /* monotonic us */
    uint32_t *index;           /* the writer's: offset + 1 of a record of the open half */
    size_t index_n;            /* a power of two */
};

static struct half *half_of(const struct ring *r, int i)
{
    return (struct half *)(void *)((uint8_t *)r->head + HEAD + (size_t)i * r->head->bytes);
}

/* ---- keys of records ---- */
static uint8_t *put(uint8_t *p, struct str s, size_t max)
{
    uint16_t n = (uint16_t)(s.n < max ? s.n : max);
    memcpy(p, &n, 2);
    if (n > 0)
        memcpy(p + 2, s.p, n);
    return p + 2 + n;
}

static size_t key_make(uint8_t out[KEY_MAX], const struct audit_row *row)
{
    const int64_t ints[KEY_INTS] = {row->account_id, row->actor_id, row->credential_id, row->result};
    memcpy(out, ints, sizeof ints);
    uint8_t *p = out + sizeof ints;
    p = put(p, row->actor, AUDIT_NAME_MAX);
    p = put(p, row->action, AUDIT_NAME_MAX);
    p = put(p, row->address, AUDIT_NAME_MAX);
    p = put(p, row->object, AUDIT_OBJECT_MAX);
    p = put(p, row->client, AUDIT_CLIENT_MAX);
    p = put(p, row->data.n <= KEY_DATA_MAX ? row->data : (struct str){NULL, 0}, KEY_DATA_MAX);
    return (size_t)(p - out);
}

void ring_row(const struct ring_record *rec, struct audit_row *ret)
{
    int64_t ints[KEY_INTS];
    struct str text[KEY_TEXTS];
    memcpy(ints, rec->key, sizeof ints);
    const uint8_t *p = rec->key + sizeof ints;
    for (int i = 0; i < KEY_TEXTS; i++) {
        uint16_t n;
        memcpy(&n, p, 2);
        text[i] = (struct str){(const char *)p + 2, n};
        p += 2 + n;
    }
    *ret = (struct audit_row){.at = atomic_load(&rec->at), .account_id = ints[0], .actor_id = ints[1],
                              .credential_id = ints[2], .result = ints[3], .actor = text[0], .action = text[1],
                              .address = text[2], .object = text[3], .client = text[4], .data = text[5]};
}

static uint64_t sum_of(const struct ring_record *rec) /* FNV-1a: against accidents */
{
    uint64_t h = 0xcbf29ce484222325u ^ rec->key_n;
    for (uint32_t i = 0; i < rec->key_n; i++)
        h = (h ^ rec->key[i]) * 0x100000001b3u;
    return h;
}

/* ---- the writer ---- */
static void open_half(struct ring *r, int i)
{
    struct half *h = half_of(r, i);
    memset(r->index, 0, r->index_n * sizeof *r->index);
    r->open = i;
    atomic_store(&r->opened_at, clock_mono());
    atomic_store(&h->state, OPEN);
}

static bool turn(struct ring *r)
{
    if (atomic_load(&half_of(r, !r->open)->state) != FREE)
        return false;
    atomic_store(&half_of(r, r->open)->state, CLOSED);
    open_half(r, !r->open);
    return true;
}

/* The record of this key, or NULL and the slot of the index where it belongs (NULL: no room). */
static struct ring_record *find(struct ring *r, uint64_t hash, const uint8_t *key, size_t n, uint32_t **ret_slot)
{
    struct half *h = half_of(r, r->open);
    *ret_slot = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        uint32_t *slot = &r->index[(hash + i) & (r->index_n - 1)];
        if (*slot == 0) {
            *ret_slot = slot;
            return NULL;
        }
        struct ring_record *rec = (struct ring_record *)(void *)(h->records + *slot - 1);
        if (rec->key_n == n && memcmp(rec->key, key, n) == 0)
            return rec;
    }
    return NULL;
}

static struct ring_record *append(struct ring *r, const uint8_t *key, size_t n, uint32_t *slot)
{
    struct half *h = half_of(r, r->open);
    size_t size = (sizeof(struct ring_record) + n + 7) & ~(size_t)7;
    uint32_t used = atomic_load_explicit(&h->used, memory_order_relaxed);
    if (slot == NULL || used + size > r->room)
        return NULL;
    struct ring_record *rec = (struct ring_record *)(void *)(h->records + used);
    rec->size = (uint32_t)size;
    rec->key_n = (uint32_t)n;
    memcpy(rec->key, key, n);
    rec->sum = sum_of(rec);
    rec->done = rec->target = 0;
    atomic_store_explicit(&rec->seen, 0, memory_order_relaxed);
    *slot = used + 1;
    return rec;
}

static void raise(_Atomic uint64_t *n, uint64_t by) /* one writer: no locked instruction */
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_release);
}

void ring_count(struct ring *r, const struct audit_row *row)
{
    uint8_t key[KEY_MAX];
    size_t n = key_make(key, row);
    uint64_t hash = hashkey((struct str){(const char *)key, n});
    uint64_t by = row->count > 0 ? (uint64_t)row->count : 1;
    uint32_t *slot;
    if (clock_mono() - atomic_load_explicit(&r->opened_at, memory_order_relaxed) >= r->window)
        (void)turn(r);
    struct ring_record *rec = find(r, hash, key, n, &slot);
    bool is_new = rec == NULL;
    if (is_new && (rec = append(r, key, n, slot)) == NULL && turn(r)) {
        (void)find(r, hash, key, n, &slot);
        rec = append(r, key, n, slot);
    }
    if (rec == NULL) {
        raise(&r->head->lost, by);
        return;
    }
    atomic_store_explicit(&rec->at, clock_now(), memory_order_relaxed);
    raise(&rec->seen, by);
    if (is_new) /* last: now it is there, for the reader and for whoever finds the file */
        atomic_store_explicit(&half_of(r, r->open)->used, (uint32_t)((uint8_t *)rec - half_of(r, r->open)->records) + rec->size,
                              memory_order_release);
}

/* ---- the reader ---- */
/* The record at offset *at, which moves on; NULL at the end, or where the file is damaged. */
static struct ring_record *next_record(const struct ring *r, int half, uint32_t *at)
{
    struct half *h = half_of(r, half);
    uint32_t used = atomic_load_explicit(&h->used, memory_order_acquire);
    struct ring_record *rec = (struct ring_record *)(void *)(h->records + *at);
    if (used > r->room || *at + sizeof *rec > used)
        return NULL;
    if (rec->size % 8 != 0 || rec->size < sizeof *rec || rec->size > used - *at || rec->key_n > KEY_MAX ||
        rec->key_n > rec->size - sizeof *rec || rec->sum != sum_of(rec))
        return NULL;
    *at += rec->size;
    return rec;
}

static void take_half(const struct ring *r, int half, struct ring_batch *b)
{
    uint32_t at = 0;
    struct ring_record *rec;
    while ((rec = next_record(r, half, &at)) != NULL) {
        uint64_t seen = atomic_load_explicit(&rec->seen, memory_order_acquire);
        rec->target = rec->done;
        if (seen <= rec->done || b->n == RING_BATCH_MAX)
            continue;
        rec->target = seen;
        b->part[b->n].record = rec;
        b->part[b->n++].count = (int64_t)(seen - rec->done);
    }
}

static bool ready(const struct ring *r, int half, bool all)
{
    uint32_t state = atomic_load(&half_of(r, half)->state);
    return state == CLOSED || (state == OPEN && (all || clock_mono() - atomic_load(&r->opened_at) >= r->window));
}

/* Gives back a closed half with nothing left in it. */
static void give_back(const struct ring *r, int half)
{
    struct half *h = half_of(r, half);
    uint32_t at = 0;
    struct ring_record *rec;
    if (atomic_load(&h->state) != CLOSED)
        return;
    while ((rec = next_record(r, half, &at)) != NULL) {
        if (atomic_load(&rec->seen) > rec->done)
            return;
    }
    atomic_store(&h->used, 0); /* so that no stale record is touched while the writer fills it anew */
    atomic_store(&h->state, FREE);
}

bool ring_take(struct ring *r, bool all, struct ring_batch *ret)
{
    struct head *head = r->head;
    bool take[2] = {ready(r, 0, all), ready(r, 1, all)};
    BUG_ON(atomic_load(&head->batch) != 0);
    ret->n = 0;
    for (int i = 0; i < 2; i++) {
        uint32_t at = 0;
        struct ring_record *rec;
        if (take[i])
            take_half(r, i, ret);
        else /* not of this batch */
            while ((rec = next_record(r, i, &at)) != NULL)
                rec->target = rec->done;
    }
    head->lost_target = atomic_load(&head->lost);
    ret->lost = (int64_t)(head->lost_target - head->lost_done);
    if (ret->n == 0 && ret->lost == 0)
        return false;
    do
        secret_random(&ret->id, sizeof ret->id);
    while ((ret->id &= INT64_MAX) == 0);
    atomic_store(&head->batch, ret->id);
    return true;
}

int64_t ring_pending(const struct ring *r)
{
    return atomic_load(&r->head->batch);
}

void ring_settle(struct ring *r, bool written)
{
    for (int i = 0; written && i < 2; i++) {
        uint32_t at = 0;
        struct ring_record *rec;
        while ((rec = next_record(r, i, &at)) != NULL) {
            if (rec->target > rec->done) /* a record that came since has none */
                rec->done = rec->target;
        }
    }
    if (written)
        r->head->lost_done = r->head->lost_target;
    atomic_store(&r->head->batch, 0);
    give_back(r, 0);
    give_back(r, 1);
}

/* ---- the file ---- */
static void fresh(struct ring *r, size_t bytes)
{
    memset(r->head, 0, sizeof *r->head);
    r->head->bytes = bytes;
    r->head->magic = MAGIC;
}

/* Maps what is there, or makes it. A file of another size keeps it: it may hold events. */
static int map(struct ring *r, int fd, size_t bytes, const char *name, struct err *err)
{
    struct stat st;
    uint64_t old[2] = {0, 0};
    if (fstat(fd, &st) < 0 || pread(fd, old, sizeof old, 0) < 0)
        return err_sys(err, ERR_IO, "cannot read audit/%s", name);
    bool sound = old[0] == MAGIC && old[1] % 64 == 0 && old[1] >= MIN_BYTES && old[1] <= MAX_BYTES &&
                 (uint64_t)st.st_size == HEAD + 2 * old[1];
    if (sound)
        bytes = old[1];
    r->mapped = HEAD + 2 * bytes;
    /* Blocks are there before the first event: a full disk must not be a SIGBUS. */
    int rc = sound ? 0 : ftruncate(fd, 0) < 0 ? errno : posix_fallocate(fd, 0, (off_t)r->mapped);
    if (rc != 0) {
        errno = rc;
        return err_sys(err, ERR_IO, "cannot make audit/%s", name);
    }
    void *p = mmap(NULL, r->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_sys(err, ERR_IO, "cannot map audit/%s", name);
    r->head = p;
    r->room = bytes - sizeof(struct half);
    if (!sound)
        fresh(r, bytes);
    if (!sound && old[0] != 0) /* damaged: at least one event is lost, and the log says so */
        atomic_store(&r->head->lost, 1);
    return 0;
}

int ring_open(struct ring **ret, int dir, int number, int64_t window_us, size_t bytes, struct err *err)
{
    char name[32];
    (void)snprintf(name, sizeof name, "ring-%d", number);
    bytes = bytes < MIN_BYTES ? MIN_BYTES : bytes > MAX_BYTES ? MAX_BYTES : bytes & ~(size_t)63;
    auto_fd int fd = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot open audit/%s", name);
    struct ring *r = mem_zalloc(sizeof *r);
    int rc = map(r, fd, bytes, name, err);
    if (rc < 0) {
        free(r);
        return rc;
    }
    r->window = window_us;
    r->index_n = 1024;
    while (r->index_n < r->room / RECORD_STEP * 2)
        r->index_n *= 2;
    r->index = mem_alloc(r->index_n * sizeof *r->index);
    *ret = r;
    return 0;
}

void ring_reset(struct ring *r)
{
    for (int i = 0; i < 2; i++) {
        atomic_store(&half_of(r, i)->used, 0);
        atomic_store(&half_of(r, i)->state, FREE);
    }
    open_half(r, 0);
}

void ring_close(struct ring *r)
{
    if (!r)
        return;
    (void)munmap(r->head, r->mapped);
    free(r->index);
    free(r);
}
