/* What becomes of the audit log beside the requests: one thread forwards it and lets old rows go.
 *
 * audit_syslog and audit_webhook each get every row in its order, and each new checkpoint (the line of `berth audit
 * anchor`), which is how a log set back as a whole shows. At least once: the position of each end is a file,
 * keys/audit.syslog and keys/audit.webhook, written after the end has taken the rows; what was sent since comes again
 * after a crash. Syslog has no acknowledgement, so over a new connection the last hundred rows go again. Without the
 * file (the first time, a restored hub), and when the log ends before the position, it begins with the oldest row. An
 * end that is away is tried after 1 s, doubled up to 60 s; nothing waits for it, memory holds one batch.
 *
 * audit_keep: an hour after the start and then once a day, whole sealed ranges older than that go, but no row that an
 * end waits for; a row "audit.expire" tells how many. */
#ifndef APP_FORWARD_H
#define APP_FORWARD_H
#include "app/app.h"

/* Of the settings; ERR_USAGE. */
int forward_check(const struct config *c, struct err *err);
int forward_start(struct app *a, struct err *err);
void forward_reload(struct forward *f, const struct config *c); /* checked before; any thread */
void forward_stop(struct app *a); /* nothing without it; waits for the call that is under way, at most 10 s */
#endif
