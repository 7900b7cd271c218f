/* A repository is deleted in two steps. The request takes its name and everybody's access away, in one transaction:
 * from then on it is absent, and its name is free. Upkeep then takes out what it held, in small transactions (tags,
 * manifests, links, and at last the row), by what the collector uses, so that blobs that nobody else links come to
 * its queue. Both ends of each transaction are sound, so a server that dies goes on where it was.
 *
 * No push can add to what is being taken out: every writer finds its repository by name inside its transaction. */
#include "registry/upkeep.h"
#include "registry/view.h"

static int abandon(struct db_tx *tx, struct change *c, struct err *err)
{
    struct buf data;
    buf_init(&data, 1024);
    buf_cstr(&data, "{\"name\":");
    buf_json(&data, c->now.repo.name);
    buf_char(&data, '}');
    int rc = repo_tx_abandon(tx, c, err);
    if (rc == 0)
        rc = event_tx_append(tx, "repository.deleted", c->who->user_id, c->now.repo.fact->id, buf_view(&data), err);
    buf_release(&data);
    return rc;
}

int registry_repo_delete(struct http_req *r, struct err *err)
{
    struct change c = {.right = RIGHT_REPO_DELETE, .fn = abandon, .action = "repo.delete"};
    int rc = change_run(r, &c, err);
    return rc < 0 ? rc : 0;
}

static int delete_tag(struct db_tx *tx, struct change *c, struct err *err)
{
    const struct str *tag = c->arg;
    int rc = tag_tx_delete(tx, c->now.repo.fact->id, *tag, c->who->user_id, err);
    return rc == 0 ? err_set(err, ERR_NOT_FOUND, "there is no tag \"%.*s\"", STR_FMT(*tag)) : rc < 0 ? rc : 0;
}

int registry_tag_delete(struct http_req *r, struct str tag, struct err *err)
{
    struct change c = {.right = RIGHT_REPO_CONTENT, .fn = delete_tag, .arg = &tag, .action = "repo.tag.delete"};
    int rc = change_run(r, &c, err);
    return rc < 0 ? rc : 0;
}

/* --- what it held */

static int drain_step(struct db_tx *tx, void *arg, struct err *err)
{
    static int (*const each[])(struct db_tx * tx, int64_t repo_id, struct err * err) = {
        drain_tx_tags, drain_tx_manifests, drain_tx_links, drain_tx_uploads, drain_tx_reviews, drain_tx_row};
    int64_t repo_id = 0;
    int rc = drain_tx_next(tx, &repo_id, err);
    *(bool *)arg = rc == 0; /* nothing is left */
    for (size_t i = 0; rc == 1 && i < ARRAY_LEN(each); i++) {
        int n = each[i](tx, repo_id, err);
        if (n != 0)
            return n < 0 ? n : 0;
    }
    return rc < 0 ? rc : 0;
}

int repo_drain(struct registry *g, const _Atomic bool *stop, struct err *err)
{
    bool done = false;
    int rc = db_read(g->db, drain_any, &done, err);
    while (rc == 0 && !done && !(stop && atomic_load(stop)))
        rc = db_write(g->db, drain_step, &done, err);
    return rc;
}
