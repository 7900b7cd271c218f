/* Pushes, HEADs, the collector, the purge and fsck at once: nothing that somebody was told to be
 * there goes, and no row stands without its file. */
#include "upkeep_box.h"

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

static struct box box, *const b = &box;

static int setup(void **state)
{
    (void)state;
    box_init(b);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    box_release(b);
    return 0;
}

static int linked_read(struct db_tx *tx, void *arg, struct err *err)
{
    const struct digest *d = arg;
    struct blob_row row;
    return blob_tx_linked(tx, box.repo, d, &row, err);
}

/* HEAD, as the route does it. */
static bool head(struct registry *g, const struct digest *d, struct err *err)
{
    for (;;) {
        struct digest key = *d;
        uint64_t ticket = gc_touch(box.repo, d);
        int rc = db_read(g->db, linked_read, &key, err);
        if (rc < 0)
            fail_msg("%s", err->text);
        if (rc == 0 || gc_undisturbed(ticket))
            return rc == 1;
        gc_wait(ticket);
    }
}

/* Closes the writer between two removals of one pass. */
struct gate {
    sem_t entered, go;
    pthread_t writer;
    bool closed;
};

static int gate_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct gate *gate = arg;
    (void)tx;
    (void)err;
    sem_post(&gate->entered);
    while (sem_wait(&gate->go) != 0) {
    }
    return 0;
}

static void *gate_main(void *arg)
{
    struct err err = {0};
    if (db_write(box.db, gate_write, arg, &err) < 0)
        abort();
    return NULL;
}

static int close_gate(void *arg, const struct gc_row *row, struct err *err)
{
    struct gate *gate = arg;
    (void)row;
    (void)err;
    if (gate->closed)
        return 0;
    gate->closed = true;
    if (pthread_create(&gate->writer, NULL, gate_main, gate) != 0)
        abort();
    while (sem_wait(&gate->entered) != 0) {
    }
    return 0;
}

static void *review_main(void *arg)
{
    struct gc_run run = {
        .g = box.g, .due = clock_now(), .max = SIZE_MAX, .removed = close_gate, .arg = arg};
    struct err err = {0};
    if (gc_pass(&run, &err) < 0)
        abort();
    return NULL;
}

struct head_call {
    struct digest digest;
    bool found;
};

static void *head_main(void *arg)
{
    struct head_call *call = arg;
    struct err err = {0};
    call->found = head(box.g, &call->digest, &err);
    return NULL;
}

/* The reviewer has begun to remove a link and waits for the writer, when a HEAD comes: the row is
 * still to be seen, but the HEAD knows that it cannot rely on it; what it says in the end is true,
 * whether the reviewer still spares the link (a grace) or not (none). */
static void head_in_the_middle(int64_t grace)
{
    (void)box_blob(b, b->repo, "goes first");
    struct head_call call = {.digest = box_blob(b, b->repo, "goes second")};
    struct digest *d = &call.digest, key = *d;
    struct gate gate = {.closed = false};
    pthread_t reviewer, header;
    sem_init(&gate.entered, 0, 0);
    sem_init(&gate.go, 0, 0);
    assert_int_equal(pthread_create(&reviewer, NULL, review_main, &gate), 0);
    uint64_t ticket; /* odd only between the first removal's end and the gate's opening */
    do {
        ticket = gc_touch(b->repo, d);
        assert_int_equal(db_read(b->db, linked_read, &key, &b->err), 1);
    } while (gc_undisturbed(ticket));
    assert_int_equal(pthread_create(&header, NULL, head_main, &call), 0);
    box_set(b, GC_GRACE, grace);
    sem_post(&gate.go);
    pthread_join(reviewer, NULL);
    pthread_join(gate.writer, NULL);
    pthread_join(header, NULL);
    assert_int_equal(box_linked(b, b->repo, d), grace > 0);
    assert_int_equal(call.found, grace > 0);
    sem_destroy(&gate.entered);
    sem_destroy(&gate.go);
}

static void test_head_while_a_removal_is_called_off(void **state)
{
    (void)state;
    head_in_the_middle(HOUR);
}

static void test_head_while_a_removal_goes_on(void **state)
{
    (void)state;
    head_in_the_middle(0);
}

/* The model: whoever was told that a blob exists, by HEAD or by 201, and names it in a manifest
 * within gc_grace, finds it there. The collector works without delay all the time. */
enum { DIGESTS = 64, PUSHERS = 3, WANTED_DELETIONS = 60, WANTED_PUTS = 600 };
#define MODEL_GRACE INT64_C(60000)
static _Atomic bool race_stop;
static _Atomic int64_t puts_judged, puts_late, deletions, violations, heads_found;

static void nap(unsigned *seed, unsigned max_us)
{
    usleep((unsigned)rand_r(seed) % max_us);
}

static void one_push(unsigned *seed, int who, int round, struct err *err)
{
    char content[32], salt[32];
    struct digest d, m;
    int64_t missing, at, told = clock_mono();
    (void)snprintf(content, sizeof content, "content %d", rand_r(seed) % DIGESTS);
    (void)snprintf(salt, sizeof salt, "%d-%d", who, round);
    hash_bytes(DIGEST_SHA256, content, strlen(content), &d);
    bool found = rand_r(seed) % 4 > 0 && head(box.g, &d, err); /* some push without asking */
    if (found)
        atomic_fetch_add(&heads_found, 1);
    else if (push_blob(box.g, box.repo, content, &d, err) < 0)
        abort();
    nap(seed, 3000);
    struct put_manifest p = {.repo = box.repo, .blob = &d, .salt = salt};
    if (put_manifest(box.g, &p, &m, &missing, &at, err) < 0)
        abort();
    if (at - told < MODEL_GRACE) {
        atomic_fetch_add(&puts_judged, 1);
        atomic_fetch_add(&violations, missing);
    } else {
        atomic_fetch_add(&puts_late, 1);
    }
    nap(seed, 3000);
    if (delete_manifest(box.g, box.repo, &m, err) < 0)
        abort();
}

static void *pusher_main(void *arg)
{
    int who = *(int *)arg;
    unsigned seed = (unsigned)who + 1;
    struct err err = {0};
    for (int round = 0; !atomic_load(&race_stop); round++) {
        one_push(&seed, who, round, &err);
        nap(&seed, 10000);
    }
    return NULL;
}

static void *collector_main(void *arg)
{
    (void)arg;
    struct err err = {0};
    while (!atomic_load(&race_stop)) {
        struct gc_run run = {.g = box.g, .due = INT64_MAX, .by_key = true, .max = SIZE_MAX};
        if (gc_pass(&run, &err) < 0 || trash_purge(box.g, clock_now(), NULL, NULL, &err) < 0)
            abort();
        atomic_fetch_add(&deletions, run.deleted);
        if (atomic_load(&deletions) >= WANTED_DELETIONS && atomic_load(&puts_judged) >= WANTED_PUTS)
            atomic_store(&race_stop, true);
    }
    return NULL;
}

static _Atomic int64_t strays;

static int quiet_report(void *arg, json_t *line, struct err *err)
{
    (void)err;
    const char *kind = json_string_value(json_object_get(line, "kind"));
    const char *code = json_string_value(json_object_get(line, "code"));
    if (code && strncmp(code, "stray_", 6) == 0)
        atomic_fetch_add(&strays, 1);
    if (strcmp(kind, "item") == 0 && arg) {
        char *text = json_dumps(line, 0);
        print_message("%s\n", text);
        free(text);
    }
    json_decref(line);
    return 0;
}

static void *fsck_main(void *arg)
{
    int64_t *problems = arg, n;
    struct err err = {0};
    while (!atomic_load(&race_stop)) {
        if (registry_fsck(box.g, true, false, quiet_report, &n, &n, &err) < 0)
            abort();
        *problems += n;
    }
    return NULL;
}

static void test_no_push_in_flight_loses_a_blob(void **state)
{
    (void)state;
    pthread_t pusher[PUSHERS], collector, checker;
    int who[PUSHERS];
    int64_t problems = 0;
    atomic_store(&race_stop, false);
    usleep(2 * TOUCH_STEP_US); /* the start of the process counts as a touch */
    box_set(b, GC_GRACE, MODEL_GRACE);
    for (int i = 0; i < PUSHERS; i++) {
        who[i] = i;
        assert_int_equal(pthread_create(&pusher[i], NULL, pusher_main, &who[i]), 0);
    }
    assert_int_equal(pthread_create(&collector, NULL, collector_main, NULL), 0);
    assert_int_equal(pthread_create(&checker, NULL, fsck_main, &problems), 0);
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(pusher[i], NULL);
    pthread_join(collector, NULL);
    pthread_join(checker, NULL);
    print_message("%lld puts judged, %lld late, %lld heads found a blob, %lld deletions\n",
                  (long long)puts_judged, (long long)puts_late, (long long)heads_found,
                  (long long)deletions);
    assert_int_equal(atomic_load(&violations), 0);
    assert_true(atomic_load(&heads_found) > 0);
    assert_int_equal(problems, 0); /* fsck beside it all saw nothing wrong */
    ok(b, registry_fsck(b->g, true, false, quiet_report, b, &problems, &b->err));
    assert_int_equal(problems, 0);
}

/* Row and file of one digest, pushed and collected by everybody at once without any grace. */
static void *churn_main(void *arg)
{
    struct err err = {0};
    struct digest d;
    int rounds = *(int *)arg;
    for (int i = 0; i < rounds; i++) {
        if (push_blob(box.g, box.repo, i % 2 ? "churn one" : "churn two", &d, &err) < 0)
            abort();
    }
    return NULL;
}

static void *purge_main(void *arg)
{
    (void)arg;
    struct err err = {0};
    while (!atomic_load(&race_stop)) {
        struct gc_run run = {.g = box.g, .due = INT64_MAX, .by_key = true, .max = SIZE_MAX};
        if (gc_pass(&run, &err) < 0 || trash_purge(box.g, clock_now(), NULL, NULL, &err) < 0 ||
            orphans_collect(box.g, clock_now() + DAY, NULL, NULL, &err) < 0)
            abort();
    }
    return NULL;
}

static void test_a_row_never_stands_without_its_file(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    pthread_t churn[THREADS], collector[2], checker;
    int rounds = 150;
    int64_t problems = 0;
    atomic_store(&race_stop, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&collector[i], NULL, purge_main, NULL), 0);
    assert_int_equal(pthread_create(&checker, NULL, fsck_main, &problems), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&churn[i], NULL, churn_main, &rounds), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(churn[i], NULL);
    atomic_store(&race_stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(collector[i], NULL);
    pthread_join(checker, NULL);
    assert_int_equal(problems, 0);
    assert_int_equal(atomic_load(&strays), 0); /* nothing is between file and row under the lock */
    ok(b, registry_fsck(b->g, true, false, quiet_report, b, &problems, &b->err));
    assert_int_equal(problems, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_head_while_a_removal_is_called_off),
        T(test_head_while_a_removal_goes_on),
        T(test_no_push_in_flight_loses_a_blob),
        T(test_a_row_never_stands_without_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
