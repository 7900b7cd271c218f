/* Time. Wall time only names moments (rows, logs, tokens); durations use the monotonic clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include "base/text.h"
int64_t clock_now(void);    /* microseconds since 1970 UTC */
int64_t clock_mono(void);   /* microseconds, CLOCK_MONOTONIC */
void clock_rfc3339(char out[28], int64_t us);   /* 2026-01-02T03:04:05.123456Z */
void clock_http(char out[30], int64_t us);      /* Sun, 06 Nov 1994 08:49:37 GMT */
#endif
