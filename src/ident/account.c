/* Accounts come into being and change: the first administrator, and what is asked for inside a
 * transaction by the APIs. */
#include "ident/ident_int.h"

int ident_account_name_check(struct str name, struct err *err)
{
    if (name.n < ACCOUNT_NAME_MIN || name.n > ACCOUNT_NAME_MAX || memchr(name.p, '/', name.n) || !name_valid(name))
        return err_set(err, ERR_USAGE,
                       "an account's name has %d to %d characters of a-z and 0-9, joined by one '.', '_', '__' or dashes",
                       ACCOUNT_NAME_MIN, ACCOUNT_NAME_MAX);
    if (name_reserved_first(name) || str_is(name, "library") || str_is(name, KEYLESS_USER))
        return err_set(err, ERR_USAGE, "the name \"%.*s\" is reserved", STR_FMT(name));
    return 0;
}

int ident_password_check(struct str password, struct err *err)
{
    if (password.n < 8 || password.n > PASSWORD_MAX)
        return err_set(err, ERR_USAGE, "a password has 8 to %d bytes", PASSWORD_MAX);
    return 0;
}

/* --- the first start */

struct first {
    struct str name;
    char hash[PASSWORD_HASH_MAX];
    bool made;
};

static int first_start(struct db_tx *tx, void *arg, struct err *err)
{
    struct first *f = arg;
    int64_t id;
    f->made = false;
    int rc = account_tx_any(tx, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = account_tx_add(tx, ACCOUNT_USER, f->name, f->hash, SITE_ADMIN, &id, err)) < 0 ||
        (rc = account_tx_add(tx, ACCOUNT_ORG, STR_LIT("library"), "", SITE_NONE, &id, err)) < 0)
        return rc;
    f->made = true;
    return 0;
}

static int read_any(struct db_tx *tx, void *arg, struct err *err)
{
    int rc = account_tx_any(tx, err);
    *(bool *)arg = rc == 1;
    return rc < 0 ? rc : 0;
}

int ident_has_users(struct ident *i, bool *ret, struct err *err)
{
    return db_read(i->db, read_any, ret, err);
}

int ident_first_start(struct ident *i, struct str user, struct str password, bool *ret_made, struct err *err)
{
    struct first f = {.name = user};
    bool any = false;
    int rc = db_read(i->db, read_any, &any, err);
    *ret_made = false;
    if (rc < 0 || any)
        return rc;
    if ((rc = ident_account_name_check(user, err)) < 0 || (rc = ident_password_check(password, err)) < 0 ||
        (rc = password_hash(password, f.hash, err)) < 0)
        return err_wrap(err, "the first administrator");
    rc = db_write(i->db, first_start, &f, err);
    *ret_made = rc == 0 && f.made;
    return rc;
}

/* --- inside a transaction */

int account_tx_name_free(struct db_tx *tx, struct str name, struct err *err)
{
    struct account a;
    int rc = account_tx_find(tx, name, &a, err);
    if (rc != 1)
        return rc;
    if (a.state == ACCOUNT_REMOVED)
        return err_set(err, ERR_EXISTS, "the name \"%.*s\" belonged to a removed account and is not given again", STR_FMT(name));
    return err_set(err, ERR_EXISTS, "%s \"%.*s\" exists", a.kind == ACCOUNT_ORG ? "organization" : "user", STR_FMT(name));
}

/* The last administrator who can log in stays one. */
int account_tx_spare_admin(struct db_tx *tx, const struct account *a, struct err *err)
{
    int64_t n = 0;
    if (a->role != SITE_ADMIN || a->state != ACCOUNT_ACTIVE)
        return 0;
    int rc = account_tx_admins(tx, &n, err);
    if (rc == 0 && n <= 1)
        return err_set(err, ERR_EXISTS, "\"%s\" is the last administrator", a->name);
    return rc;
}

int account_tx_user(struct db_tx *tx, struct str name, struct account *ret, struct err *err)
{
    int rc = account_tx_find(tx, name, ret, err);
    if (rc == 0 || (rc == 1 && (ret->kind != ACCOUNT_USER || ret->state == ACCOUNT_REMOVED)))
        return err_set(err, ERR_NOT_FOUND, "there is no user \"%.*s\"", STR_FMT(name));
    return rc < 0 ? rc : 0;
}

int account_is_org(const struct account *a, struct err *err)
{
    return a->kind == ACCOUNT_ORG ? 0 : err_set(err, ERR_NOT_FOUND, "there is no such account, or you may not read it");
}
