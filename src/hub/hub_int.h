/* Private: pages, and shapes that several files answer with. */
#ifndef HUB_HUB_INT_H
#define HUB_HUB_INT_H
#include "base/clock.h"
#include "hub/hub.h"
#include "ident/account.h"
#include "registry/view.h"

/* --- pages: {"count","next","previous","results"}, ?page= from 1 &page_size=. In a transaction that may run again:
 *     hub_page_start(&p, c);
 *     for each row of all there are:  if (hub_page_takes(&p)) hub_page_add(&p, json);
 * and behind it: return hub_page_send(&p, err). A page past the end is ERR_NOT_FOUND; the first one never is. */
struct hub_page {
    struct rest_call *c;
    int64_t page, size, count;
    json_t *results;
};
enum { HUB_PAGE_SIZE = 10, HUB_PAGE_MAX = 100 };
void hub_page_start(struct hub_page *p, struct rest_call *c);
bool hub_page_takes(struct hub_page *p); /* counts a row: is it on this page? */
void hub_page_add(struct hub_page *p, json_t *item);
/* count: the member's name ("total" for organizations' tokens). more: members beside; taken, may be NULL. rc: of the
 * transaction. Releases what p holds. */
int hub_page_finish(struct hub_page *p, const char *count, json_t *more, int rc, struct err *err);
static inline int hub_page_send(struct hub_page *p, int rc, struct err *err) { return hub_page_finish(p, "count", NULL, rc, err); }

#define HUB_PAGE_QUERY {"page", REST_INT, .min = 1, .max = 1000000000}, {"page_size", REST_INT, .min = 1, .max = 1000000000}
/* What the profiles of users and organizations share; name: their name's field. */
#define HUB_PROFILE(name)                                                                                                \
    {"id", REST_INT, .required = true}, {"uuid", REST_STRING, .required = true}, {name, REST_STRING, .required = true},  \
        {"full_name", REST_STRING, .required = true}, {"location", REST_STRING, .required = true},                       \
        {"company", REST_STRING, .required = true}, {"profile_url", REST_STRING, .required = true},                      \
        {"date_joined", REST_TIME, .required = true}, {"gravatar_url", REST_STRING, .required = true},                   \
        {"gravatar_email", REST_STRING, .required = true}, {"type", REST_STRING, .required = true}
#define HUB_PAGE_OF(count, item)                                                                                            \
    {count, REST_INT, .required = true}, {"next", REST_STRING, .required = true, .nullable = true},                          \
        {"previous", REST_STRING, .required = true, .nullable = true},                                                      \
        {"results", REST_ARRAY, .required = true, .max = HUB_PAGE_MAX, .schema = &(item)}
extern const struct rest_field hub_page_query[];
static inline bool text_has(struct str s, struct str part) /* part empty: yes */
{
    return part.n == 0 || (s.p != NULL && part.p != NULL && memmem(s.p, s.n, part.p, part.n) != NULL);
}

/* --- a number as a UUID (RFC 9562, version 8), where Hub has one: ours is a row's number, so the text is stable */
enum { HUB_UUID = 37 };
void hub_uuid(int64_t id, char out[HUB_UUID]);
bool hub_uuid_parse(struct str text, int64_t *ret);

/* --- people */
extern const struct rest_schema hub_user, hub_user_page;
json_t *hub_user_json(const struct account *a, bool email);
struct hub_user_job {              /* a page of users by their names */
    struct hub_page page;
    struct db_tx *tx;
    struct err *err;
};
int hub_user_add(struct hub_user_job *j, struct str name);
#endif
