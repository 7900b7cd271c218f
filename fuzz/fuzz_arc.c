/* Reading a tar made by somebody else: names are clean, bodies have their announced size, and no cap is
 * passed. */
#include "arc/arc.h"

#include <sys/mman.h>
#include <unistd.h>

enum { ENTRY_MAX = 64 << 10, TOTAL_MAX = 256 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 0 the body was whole. */
static int read_body(struct arc_reader *r, int64_t want, struct err *err)
{
    const void *p;
    size_t n;
    int64_t have = 0;
    for (;;) {
        int rc = arc_read(r, &p, &n, err);
        if (rc < 0)
            return rc;
        if (n == 0)
            break;
        volatile uint8_t sum = 0; /* every byte can be read */
        for (size_t i = 0; i < n; i++)
            sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
        have += (int64_t)n;
        BUG_ON(have > want);
    }
    BUG_ON(have != want);
    return 0;
}

static void read_all(int fd, bool bodies)
{
    struct arc_reader *r = NULL;
    struct arc_entry e;
    struct err err = {0};
    int64_t total = 0;
    if (arc_reader_open(&r, fd, ENTRY_MAX, TOTAL_MAX, NULL, NULL, &err) == 0) {
        int rc;
        while ((rc = arc_next(r, &e, &err)) == 1) {
            BUG_ON(!arc_name_ok(str_of(e.name)) || e.size < 0 || e.size > ENTRY_MAX);
            total += e.size;
            BUG_ON(total > TOTAL_MAX);
            if (bodies && (rc = read_body(r, e.size, &err)) < 0)
                break;
        }
        BUG_ON(rc < 0 && err.text[0] == '\0');
        if (rc < 0)
            BUG_ON(arc_next(r, &e, &err) != ERR_INVALID); /* it stays broken */
        arc_reader_free(r);
    }
    BUG_ON(err.code != 0 && err.code != ERR_INVALID && err.code != ERR_TOO_LARGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_fd int fd = memfd_create("fuzz", MFD_CLOEXEC);
    BUG_ON(fd < 0 || write(fd, data, size) != (ssize_t)size);
    for (int bodies = 0; bodies < 2; bodies++) {
        BUG_ON(lseek(fd, 0, SEEK_SET) != 0);
        read_all(fd, bodies == 1);
    }
    return 0;
}
