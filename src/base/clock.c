/* Time as text and numbers. See clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

#ifdef BERTH_FAULTS
/* Tests live as many seconds ahead as this says. */
static int64_t ahead(void)
{
    const char *s = getenv("BERTH_TEST_AHEAD");
    return s ? (int64_t)atoi(s) * 1000000 : 0;
}
#else
static int64_t ahead(void) { return 0; }
#endif

int64_t clock_now(void)
{
    static _Atomic int64_t by = -1;
    if (by < 0)
        by = ahead();
    return read_clock(CLOCK_REALTIME) + by;
}
int64_t clock_mono(void) { return read_clock(CLOCK_MONOTONIC); }

void clock_rfc3339(char out[28], int64_t us)
{
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char text[128]; /* years beyond 9999 do not fit 28 bytes; the copy is cut */
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(us % 1000000));
    memcpy(out, text, 27);
    out[27] = '\0';
}

void clock_http(char out[30], int64_t us)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char text[128];
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, 29);
    out[29] = '\0';
}
