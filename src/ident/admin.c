/* Administration of users: the first one, and what the command line asks for. */
#include "ident/ident_int.h"

enum { USER_MIN = 2, USER_MAX = 64, PAGE = 500 };

struct user_change {
    struct str name;
    char hash[PASSWORD_HASH_MAX];
    bool admin, made;
};

static int check_name(struct str name, struct err *err)
{
    if (name.n < USER_MIN || name.n > USER_MAX || memchr(name.p, '/', name.n) || !name_valid(name))
        return err_set(err, ERR_USAGE,
                       "a user name has %d to %d characters of a-z and 0-9, joined by one '.', '_', '__' or dashes",
                       USER_MIN, USER_MAX);
    if (name_reserved_first(name) || str_is(name, "library"))
        return err_set(err, ERR_USAGE, "the name \"%.*s\" is reserved", STR_FMT(name));
    return 0;
}

static int check_password(struct str password, struct err *err)
{
    if (password.n < 8 || password.n > PASSWORD_MAX)
        return err_set(err, ERR_USAGE, "a password has 8 to %d bytes", PASSWORD_MAX);
    return 0;
}

int ident_user_name_check(struct str name, struct err *err)
{
    return check_name(name, err);
}

int ident_password_check(struct str password, struct err *err)
{
    return check_password(password, err);
}

static int prepare(struct user_change *c, struct str name, struct str password, struct err *err)
{
    int rc;
    c->name = name;
    if ((rc = check_name(name, err)) < 0 || (rc = check_password(password, err)) < 0)
        return rc;
    return password_hash(password, c->hash, err);
}

static int add_user(struct db_tx *tx, const struct user_change *c, struct err *err)
{
    struct user_found user;
    int64_t now = clock_now();
    int rc = user_tx_add(tx, c->name, c->hash, c->admin ? ROLE_ADMIN : ROLE_USER, now, err);
    if (rc < 0 || (rc = user_tx_find(tx, c->name, &user, err)) < 0)
        return rc;
    return namespace_tx_add(tx, c->name, user.id, now, err);
}

static int first_start(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_change *c = arg;
    c->made = false;
    int rc = user_tx_any(tx, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = add_user(tx, c, err)) < 0 ||
        (rc = namespace_tx_add(tx, STR_LIT("library"), 0, clock_now(), err)) < 0)
        return rc;
    c->made = true;
    return 0;
}

static int read_any(struct db_tx *tx, void *arg, struct err *err)
{
    int rc = user_tx_any(tx, err);
    *(bool *)arg = rc == 1;
    return rc < 0 ? rc : 0;
}

int ident_has_users(struct ident *i, bool *ret, struct err *err)
{
    return db_read(i->db, read_any, ret, err);
}

int ident_first_start(struct ident *i, struct str user, struct str password, bool *ret_made,
                      struct err *err)
{
    struct user_change c = {.admin = true};
    bool any = false;
    int rc = db_read(i->db, read_any, &any, err);
    *ret_made = false;
    if (rc < 0 || any)
        return rc;
    if ((rc = prepare(&c, user, password, err)) < 0)
        return err_wrap(err, "the first administrator");
    rc = db_write(i->db, first_start, &c, err);
    *ret_made = rc == 0 && c.made;
    return rc;
}

/* Every change of a user ends what caches know about it. */
static int user_write(struct ident *i, struct str name, db_callback fn, void *arg, struct err *err)
{
    gen_begin(GEN_USER, name);
    int rc = db_write(i->db, fn, arg, err);
    gen_end(GEN_USER, name);
    return rc;
}

static int do_add(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_change *c = arg;
    struct user_found user;
    struct namespace_found ns;
    int rc = user_tx_find(tx, c->name, &user, err);
    if (rc == 1)
        return err_set(err, ERR_EXISTS,
                       user.state == STATE_REMOVED ? "the name \"%.*s\" belonged to a removed user and is not given again"
                                                   : "user \"%.*s\" exists",
                       STR_FMT(c->name));
    if (rc == 0 && (rc = namespace_tx_find(tx, c->name, &ns, err)) == 1)
        return err_set(err, ERR_EXISTS, "namespace \"%.*s\" exists and is not a user's", STR_FMT(c->name));
    return rc < 0 ? rc : add_user(tx, c, err);
}

int ident_user_add(struct ident *i, struct str name, struct str password, bool admin,
                   struct err *err)
{
    struct user_change c = {.admin = admin};
    int rc = prepare(&c, name, password, err);
    return rc < 0 ? rc : user_write(i, name, do_add, &c, err);
}

static int find_active(struct db_tx *tx, struct str name, struct user_found *ret, struct err *err)
{
    int rc = user_tx_find(tx, name, ret, err);
    if (rc == 0 || (rc == 1 && ret->state != STATE_ACTIVE))
        return err_set(err, ERR_NOT_FOUND, "no user \"%.*s\"", STR_FMT(name));
    return rc < 0 ? rc : 0;
}

static int do_password(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_change *c = arg;
    struct user_found user;
    int rc = find_active(tx, c->name, &user, err);
    return rc < 0 ? rc : user_tx_password(tx, user.id, c->hash, err);
}

int ident_user_passwd(struct ident *i, struct str name, struct str password, struct err *err)
{
    struct user_change c = {.name = name};
    int rc = check_password(password, err);
    if (rc < 0 || (rc = password_hash(password, c.hash, err)) < 0)
        return rc;
    return user_write(i, name, do_password, &c, err);
}

static int do_remove(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_change *c = arg;
    struct user_found user;
    int64_t admins = 0;
    int rc = find_active(tx, c->name, &user, err);
    if (rc < 0 || (rc = user_tx_admins(tx, &admins, err)) < 0)
        return rc;
    if (user.role == ROLE_ADMIN && admins <= 1)
        return err_set(err, ERR_DENIED, "\"%.*s\" is the last administrator", STR_FMT(c->name));
    return user_tx_remove(tx, user.id, err);
}

int ident_user_remove(struct ident *i, struct str name, struct err *err)
{
    struct user_change c = {.name = name};
    return user_write(i, name, do_remove, &c, err);
}

struct list {
    int (*fn)(void *arg, const struct user_row *u);
    void *arg;
    char last[USER_MAX + 1];
    int64_t n;
};

static int list_one(void *arg, const struct user_row *u)
{
    struct list *l = arg;
    l->n++;
    memset(l->last, 0, sizeof l->last);
    memcpy(l->last, u->name.p, u->name.n < USER_MAX ? u->name.n : USER_MAX);
    return l->fn(l->arg, u);
}

static int list_page(struct db_tx *tx, void *arg, struct err *err)
{
    struct list *l = arg;
    l->n = 0;
    return user_tx_page(tx, str_of(l->last), PAGE, list_one, l, err);
}

int ident_user_list(struct ident *i, int (*fn)(void *arg, const struct user_row *u), void *arg,
                    struct err *err)
{
    struct list l = {.fn = fn, .arg = arg};
    int rc;
    do {
        rc = db_read(i->db, list_page, &l, err);
    } while (rc == 0 && l.n == PAGE);
    return rc;
}

struct visibility {
    struct str name;
    bool public;
};

static int do_visibility(struct db_tx *tx, void *arg, struct err *err)
{
    const struct visibility *v = arg;
    int64_t changed = 0;
    int rc = repo_tx_public(tx, v->name, v->public, &changed, err);
    if (rc == 0 && changed == 0)
        return err_set(err, ERR_NOT_FOUND, "no repository \"%.*s\"", STR_FMT(v->name));
    return rc;
}

int ident_repo_visibility(struct ident *i, struct str name, bool public, struct err *err)
{
    char canonical[LIBRARY_MAX];
    int rc = canonical_name(name, canonical, err);
    if (rc < 0)
        return rc;
    struct visibility v = {str_of(canonical), public};
    gen_begin(GEN_REPO, v.name);
    rc = db_write(i->db, do_visibility, &v, err);
    gen_end(GEN_REPO, v.name);
    return rc;
}
