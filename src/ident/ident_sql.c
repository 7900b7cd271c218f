/* Statements of users, namespaces and repositories. */
#include "ident/ident_int.h"

#include <stdlib.h>

static const char USER_FIND[] = "SELECT id, pw_hash, role, state, epoch FROM users WHERE name = $1";
static const char USER_STANDS[] = "SELECT id FROM users WHERE id = $1 AND state = 0 AND epoch = $2 AND role = $3";
static const char USER_ANY[] = "SELECT id FROM users LIMIT 1";
static const char USER_ADD[] =
    "INSERT INTO users (name, pw_hash, role, state, epoch, created_at) VALUES ($1, $2, $3, 0, 1, $4)";
static const char USER_PASSWORD[] =
    "UPDATE users SET pw_hash = $2, epoch = epoch + 1 WHERE id = $1 AND state = 0";
static const char USER_REMOVE[] =
    "UPDATE users SET state = 1, pw_hash = '', epoch = epoch + 1 WHERE id = $1 AND state = 0";
static const char USER_ADMINS[] = "SELECT count(*) FROM users WHERE role = 1 AND state = 0";
static const char USER_PAGE[] = "SELECT id, name, role, state, created_at FROM users WHERE name > $1 "
                                "ORDER BY name LIMIT $2";
static const char NAMESPACE_FIND[] = "SELECT id, owner_id FROM namespaces WHERE name = $1";
static const char NAMESPACE_ADD[] =
    "INSERT INTO namespaces (name, owner_id, created_at) VALUES ($1, $2, $3)";
static const char REPO_FIND[] = "SELECT r.id, r.namespace_id, n.owner_id, r.public FROM repos r "
                                "JOIN namespaces n ON n.id = r.namespace_id WHERE r.name = $1";
static const char REPO_ADD[] =
    "INSERT INTO repos (namespace_id, name, public, created_at) VALUES ($1, $2, $3, $4)";
static const char REPO_PUBLIC[] = "UPDATE repos SET public = $2 WHERE name = $1";

static void map_user(const struct db_rows *row, void *out)
{
    struct user_found *u = out;
    u->id = db_int(row, 0);
    text_copy(u->hash, sizeof u->hash, db_text(row, 1));
    u->role = db_int(row, 2);
    u->state = db_int(row, 3);
    u->epoch = db_int(row, 4);
}

int user_tx_find(struct db_tx *tx, struct str name, struct user_found *ret, struct err *err)
{
    return db_one(tx, USER_FIND, DB_ARGS(DB_T(name)), map_user, ret, err);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int user_tx_stands(struct db_tx *tx, int64_t id, int64_t epoch, int64_t role, struct err *err)
{
    int64_t ignored;
    return db_one(tx, USER_STANDS, DB_ARGS(DB_I(id), DB_I(epoch), DB_I(role)), map_int, &ignored, err);
}

int user_tx_any(struct db_tx *tx, struct err *err)
{
    int64_t id;
    return db_one(tx, USER_ANY, DB_NO_ARGS, map_int, &id, err);
}

int user_tx_add(struct db_tx *tx, struct str name, const char *hash, int64_t role, int64_t now,
                struct err *err)
{
    return db_exec(tx, USER_ADD, DB_ARGS(DB_T(name), DB_T(str_of(hash)), DB_I(role), DB_I(now)),
                   NULL, err);
}

int user_tx_password(struct db_tx *tx, int64_t id, const char *hash, struct err *err)
{
    return db_exec(tx, USER_PASSWORD, DB_ARGS(DB_I(id), DB_T(str_of(hash))), NULL, err);
}

int user_tx_remove(struct db_tx *tx, int64_t id, struct err *err)
{
    return db_exec(tx, USER_REMOVE, DB_ARGS(DB_I(id)), NULL, err);
}

int user_tx_admins(struct db_tx *tx, int64_t *ret, struct err *err)
{
    int rc = db_one(tx, USER_ADMINS, DB_NO_ARGS, map_int, ret, err);
    return rc < 0 ? rc : 0;
}

int user_tx_page(struct db_tx *tx, struct str after, int64_t n,
                 int (*fn)(void *arg, const struct user_row *u), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, USER_PAGE, DB_ARGS(DB_T(after), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct user_row u = {.id = db_int(rows, 0),
                             .name = db_text(rows, 1),
                             .admin = db_int(rows, 2) == ROLE_ADMIN,
                             .removed = db_int(rows, 3) == STATE_REMOVED,
                             .created_at = db_int(rows, 4)};
        rc = fn(arg, &u);
    }
    return rc < 0 ? rc : 0;
}

static void map_namespace(const struct db_rows *row, void *out)
{
    *(struct namespace_found *)out = (struct namespace_found){db_int(row, 0), db_int(row, 1)};
}

int namespace_tx_find(struct db_tx *tx, struct str name, struct namespace_found *ret,
                      struct err *err)
{
    return db_one(tx, NAMESPACE_FIND, DB_ARGS(DB_T(name)), map_namespace, ret, err);
}

int namespace_tx_add(struct db_tx *tx, struct str name, int64_t owner_id, int64_t now,
                     struct err *err)
{
    struct db_value owner = owner_id ? DB_I(owner_id) : DB_N;
    return db_exec(tx, NAMESPACE_ADD, DB_ARGS(DB_T(name), owner, DB_I(now)), NULL, err);
}

static void fact_free(struct shared *s) { free(s); }

static void map_repo(const struct db_rows *row, void *out)
{
    struct repo_fact *f = mem_zalloc(sizeof *f);
    shared_init(&f->shared, sizeof *f, fact_free);
    f->id = db_int(row, 0);
    f->namespace_id = db_int(row, 1);
    f->owner_id = db_int(row, 2);
    f->public = db_int(row, 3) != 0;
    *(struct repo_fact **)out = f;
}

int ident_tx_repo(struct db_tx *tx, struct str name, struct repo_fact **ret, struct err *err)
{
    return db_one(tx, REPO_FIND, DB_ARGS(DB_T(name)), map_repo, ret, err);
}

int repo_tx_add(struct db_tx *tx, int64_t namespace_id, struct str name, bool public, int64_t now,
                struct err *err)
{
    return db_exec(tx, REPO_ADD, DB_ARGS(DB_I(namespace_id), DB_T(name), DB_I(public), DB_I(now)),
                   NULL, err);
}

int repo_tx_public(struct db_tx *tx, struct str name, bool public, int64_t *ret_changed,
                   struct err *err)
{
    return db_exec(tx, REPO_PUBLIC, DB_ARGS(DB_T(name), DB_I(public)), ret_changed, err);
}
