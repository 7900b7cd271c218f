/* Named persistence steps that tests can kill or fail at. Empty in shipped builds. See fault.h. */
#include "base/fault.h"

#ifdef BERTH_FAULTS
#include "base/text.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    enum { FAULT_OFF, FAULT_KILL, FAULT_FAIL, FAULT_FAIL_ON } mode;
    char name[64];
    uint64_t at;
    int error;
    int log_fd;
} plan = {.log_fd = -1};
static _Atomic uint64_t passes;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load_plan(void)
{
    const char *log = getenv("BERTH_FAULT_LOG");
    if (log != NULL)
        plan.log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct str rest = str_of(getenv("BERTH_FAULT")), mode, name, at, error = STR_LIT("5");
    if (rest.n == 0 || !str_split(&rest, ':', &mode) || !str_split(&rest, ':', &name) ||
        !str_split(&rest, ':', &at))
        return;
    if (rest.p != NULL)
        error = rest;
    uint64_t number = 0;
    BUG_ON(name.n >= sizeof plan.name || !str_u64(at, &plan.at) || !str_u64(error, &number));
    memcpy(plan.name, name.p, name.n);
    plan.error = (int)number;
    plan.mode = str_is(mode, "kill") ? FAULT_KILL : str_is(mode, "fail+") ? FAULT_FAIL_ON : FAULT_FAIL;
}

int fault_at(const char *name)
{
    pthread_once(&once, load_plan);
    if (plan.log_fd >= 0) {
        char line[80];
        size_t n = strnlen(name, sizeof line - 1);
        memcpy(line, name, n);
        line[n] = '\n';
        ssize_t ignored = write(plan.log_fd, line, n + 1);
        (void)ignored;
    }
    bool here = strcmp(plan.name, "*") == 0 || strcmp(plan.name, name) == 0;
    if (plan.mode == FAULT_OFF || !here)
        return 0;
    uint64_t pass = atomic_fetch_add(&passes, 1) + 1;
    if (plan.mode == FAULT_KILL && pass == plan.at)
        kill(getpid(), SIGKILL);
    if ((plan.mode == FAULT_FAIL && pass == plan.at) || (plan.mode == FAULT_FAIL_ON && pass >= plan.at))
        return plan.error;
    return 0;
}
#endif
