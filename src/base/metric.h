/* Metrics: counters, gauges and histograms in the Prometheus text format.
 *
 * The list below is the one place where a metric is declared. Counting goes to a block owned by
 * the calling thread (no shared cache line on the pull path); a scrape sums the blocks. */
#ifndef BASE_METRIC_H
#define BASE_METRIC_H
#include "base/text.h"

/* X(id, type, "name", "labels or empty", "help"); same name in consecutive rows = one family */
#define METRIC_TABLE(X)                                                                            \
    X(HTTP_2XX, COUNTER, "berth_http_requests_total", "class=\"2xx\"", "Requests answered")        \
    X(HTTP_3XX, COUNTER, "berth_http_requests_total", "class=\"3xx\"", "")                         \
    X(HTTP_4XX, COUNTER, "berth_http_requests_total", "class=\"4xx\"", "")                         \
    X(HTTP_5XX, COUNTER, "berth_http_requests_total", "class=\"5xx\"", "")                         \
    X(HTTP_CONNS, GAUGE, "berth_http_connections", "", "Open client connections")                  \
    X(HTTP_ACCEPTS, COUNTER, "berth_http_accepts_total", "", "Accepted connections")               \
    X(HTTP_REFUSED, COUNTER, "berth_http_refused_total", "", "Connections or requests refused by a limit") \
    X(HTTP_MALFORMED, COUNTER, "berth_http_malformed_total", "", "Requests the parser refused")    \
    X(HTTP_TIMEOUTS, COUNTER, "berth_http_timeouts_total", "", "Connections closed by a timeout")  \
    X(HTTP_BYTES_IN, COUNTER, "berth_http_received_bytes_total", "", "Bytes received")             \
    X(HTTP_BYTES_OUT, COUNTER, "berth_http_sent_bytes_total", "", "Bytes sent")                    \
    X(HTTP_LATENCY, HISTOGRAM, "berth_http_request_duration_seconds", "", "From head to last byte") \
    X(AUTH_OK, COUNTER, "berth_auth_total", "result=\"ok\"", "Credential checks that missed the cache") \
    X(AUTH_FAILED, COUNTER, "berth_auth_total", "result=\"failed\"", "")                           \
    X(TOKENS, COUNTER, "berth_tokens_issued_total", "", "Tokens issued")                           \
    X(CACHE_HIT, COUNTER, "berth_cache_lookups_total", "result=\"hit\"", "Fact cache on the pull path") \
    X(CACHE_MISS, COUNTER, "berth_cache_lookups_total", "result=\"miss\"", "")                     \
    X(PULLS, COUNTER, "berth_manifest_pulls_total", "", "Manifests served by GET")                 \
    X(PUSHES, COUNTER, "berth_manifest_pushes_total", "", "Manifests stored by PUT")               \
    X(BLOBS_STORED, COUNTER, "berth_blobs_stored_total", "", "Blob uploads committed")             \
    X(BLOBS_SERVED, COUNTER, "berth_blobs_served_total", "", "Blob GETs answered")                 \
    X(UPLOADS_OPEN, GAUGE, "berth_uploads_open", "", "Upload sessions")                            \
    X(UPLOADS_EXPIRED, COUNTER, "berth_uploads_expired_total", "", "Upload sessions reaped")       \
    X(FSYNCS, COUNTER, "berth_storage_fsyncs_total", "", "fsync and fdatasync calls of the store") \
    X(STORE_ERRORS, COUNTER, "berth_storage_errors_total", "", "Failed storage calls")             \
    X(STORE_FREE, GAUGE, "berth_storage_free_bytes", "", "Free bytes of the data volume")          \
    X(STORE_READONLY, GAUGE, "berth_storage_read_only", "", "1 when writes are refused")           \
    X(DB_COMMITS, COUNTER, "berth_db_commits_total", "", "Group commits")                          \
    X(DB_WRITES, COUNTER, "berth_db_writes_total", "", "Write callbacks committed")                \
    X(DB_RETRIES, COUNTER, "berth_db_retries_total", "", "Write batches run again")                \
    X(GC_RUNS, COUNTER, "berth_gc_runs_total", "", "Review passes")                                \
    X(GC_REVIEWS, COUNTER, "berth_gc_reviews_total", "", "Queue rows reviewed")                    \
    X(GC_DELETES, COUNTER, "berth_gc_deletes_total", "", "Objects deleted by garbage collection")  \
    X(GC_POSTPONED, COUNTER, "berth_gc_postponed_total", "", "Reviews put off")                    \
    X(GC_BYTES, COUNTER, "berth_gc_deleted_bytes_total", "", "Bytes freed")                        \
    X(GC_QUEUE, GAUGE, "berth_gc_queue_rows", "", "Rows in the review queue")                      \
    X(GC_OVERDUE, GAUGE, "berth_gc_overdue_rows", "", "Rows past their review time")               \
    X(AUDIT_SYSLOG_SEQ, GAUGE, "berth_audit_forwarded_seq", "end=\"syslog\"", "Number of the last audit row that was forwarded") \
    X(AUDIT_WEBHOOK_SEQ, GAUGE, "berth_audit_forwarded_seq", "end=\"webhook\"", "")             \
    X(AUDIT_SYSLOG_FAILED, COUNTER, "berth_audit_forward_failures_total", "end=\"syslog\"", "Failed attempts to forward the audit log") \
    X(AUDIT_WEBHOOK_FAILED, COUNTER, "berth_audit_forward_failures_total", "end=\"webhook\"", "") \
    X(SCRUB_BLOBS, COUNTER, "berth_scrub_blobs_total", "", "Blobs re-hashed")                      \
    X(SCRUB_BYTES, COUNTER, "berth_scrub_bytes_total", "", "Bytes re-hashed")                      \
    X(SCRUB_CORRUPT, COUNTER, "berth_scrub_corrupt_total", "", "Blobs found corrupt and quarantined") \
    X(SCRUB_OVERDUE, GAUGE, "berth_scrub_overdue_seconds", "", "How long the blob that waits longest is past its scrub period")

enum metric_id {
#define X(id, type, name, labels, help) METRIC_##id,
    METRIC_TABLE(X)
#undef X
        METRIC_COUNT
};
void metric_add(enum metric_id id, uint64_t n);   /* counters; any thread */
void metric_set(enum metric_id id, int64_t v);    /* gauges */
void metric_gauge_add(enum metric_id id, int64_t d);
void metric_observe(enum metric_id id, int64_t us); /* histograms, microseconds */
uint64_t metric_value(enum metric_id id);         /* summed; for tests and status */
void metric_render(struct buf *out);              /* Prometheus text exposition 0.0.4, with process_* lines */
#endif
