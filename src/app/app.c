/* Builds the rooms on one another, and takes them down in the reverse order. */
#include "app/app.h"

#include "app/control.h"
#include "app/forward.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypt/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READERS_BESIDE_WORKERS = 4, KEY_BYTES = 32 };

struct ident *ident_of(const struct http_req *r) { return ((struct app *)http_ctx(r))->ident; }
struct rest *rest_of(const struct http_req *r) { return ((struct app *)http_ctx(r))->rest; }
struct registry *registry_of(const struct http_req *r) { return ((struct app *)http_ctx(r))->registry; }
struct db *hub_db(const struct http_req *r) { return ((struct app *)http_ctx(r))->db; }

int app_lock(const char *dir, bool create, int *ret_fd, struct err *err)
{
    char path[4200];
    int rc = create ? store_make_dir(dir, err) : 0;
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%.4000s/berth.lock", dir);
    auto_fd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s is not a data directory: start `berth serve --data %s` once", dir, dir);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_UNAVAILABLE, "another process uses the data directory %s", dir);
    *ret_fd = take_fd(&fd);
    return 0;
}

int app_become_owner(const char *dir, struct err *err)
{
    struct stat st;
    if (geteuid() != 0 || stat(dir, &st) != 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
        return err_sys(err, ERR_DENIED, "cannot become the owner of %s", dir);
    return 0;
}

/* A key file of 32 random bytes, made when it is missing. */
static int key_file(struct store *s, const char *name, uint8_t key[KEY_BYTES], struct err *err)
{
    struct buf b;
    buf_init(&b, 256);
    int rc = store_key_read(s, name, &b, err);
    if (rc == ERR_NOT_FOUND) {
        secret_random(key, KEY_BYTES);
        rc = store_key_write(s, name, (struct str){(char *)key, KEY_BYTES}, err);
    } else if (rc == 0 && b.n == KEY_BYTES) {
        memcpy(key, b.p, KEY_BYTES);
    } else if (rc == 0) {
        rc = err_set(err, ERR_CORRUPT, "keys/%s has %zu bytes, not %d; remove it to make a new key", name, b.n, KEY_BYTES);
    }
    if (b.p)
        secret_wipe(b.p, b.n);
    buf_release(&b);
    return rc;
}

/* Whose Idempotency-Keys a request uses: a token's answers are for that token. */
static struct str principal_of(const struct http_req *r)
{
    const struct principal *p = r->who;
    if (p == NULL || (p->kind != WHO_LOCAL && p->name[0] == 0))
        return STR_LIT("");
    return p->kind == WHO_LOCAL ? STR_LIT("!local")
                                : str_of(arena_printf(&((struct http_req *)(uintptr_t)r)->arena, "%s/%lld", p->name, (long long)p->credential_id));
}

/* A command has a server, too: one that does not listen, for requests of its own (op_api). */
static int open_http(struct app *a, enum app_mode mode, struct err *err)
{
    struct http_options o = {.config = a->config,
                             .routes = app_routes,
                             .n_routes = n_app_routes,
                             .gate = {.fast = ident_gate_fast, .slow = ident_gate_slow, .local = ident_gate_local, .release = ident_gate_release, .ctx = a}};
    int rc = http_new(&a->http, &o, err);
    if (rc < 0)
        return rc;
    http_routes_add(a->http, ident_routes, n_ident_routes);
    http_routes_add(a->http, oidc_routes, n_oidc_routes);
    http_routes_add(a->http, registry_routes, n_registry_routes);
    http_routes_add(a->http, pages_routes, n_pages_routes);
    struct rest_options ro = {.title = "Berth", .version = BERTH_VERSION, .public_right = RIGHT_PUBLIC, .principal = principal_of};
    a->rest = rest_new(&ro);
    rest_routes_add(a->rest, a->http, app_api_routes, n_app_api_routes);
    rest_routes_add(a->rest, a->http, user_routes, n_user_routes);
    rest_routes_add(a->rest, a->http, invite_routes, n_invite_routes);
    rest_routes_add(a->rest, a->http, reset_routes, n_reset_routes);
    rest_routes_add(a->rest, a->http, login_routes, n_login_routes);
    rest_routes_add(a->rest, a->http, factor_routes, n_factor_routes);
    rest_routes_add(a->rest, a->http, org_routes, n_org_routes);
    rest_routes_add(a->rest, a->http, team_routes, n_team_routes);
    rest_routes_add(a->rest, a->http, repo_routes, n_repo_routes);
    rest_routes_add(a->rest, a->http, token_routes, n_token_routes);
    rest_routes_add(a->rest, a->http, trust_routes, n_trust_routes);
    rest_routes_add(a->rest, a->http, group_routes, n_group_routes);
    rest_routes_add(a->rest, a->http, directory_routes, n_directory_routes);
    rest_routes_add(a->rest, a->http, audit_routes, n_audit_routes);
    rest_routes_add(a->rest, a->http, access_routes, n_access_routes);
    rest_routes_add(a->rest, a->http, content_routes, n_content_routes);
    rest_routes_add(a->rest, a->http, plan_routes, n_plan_routes);
    rest_routes_add(a->rest, a->http, hub_login_routes, n_hub_login_routes);
    rest_routes_add(a->rest, a->http, hub_user_routes, n_hub_user_routes);
    rest_routes_add(a->rest, a->http, hub_token_routes, n_hub_token_routes);
    rest_routes_add(a->rest, a->http, hub_org_routes, n_hub_org_routes);
    rest_routes_add(a->rest, a->http, hub_team_routes, n_hub_team_routes);
    rest_routes_add(a->rest, a->http, hub_repo_routes, n_hub_repo_routes);
    rest_routes_add(a->rest, a->http, hub_tag_routes, n_hub_tag_routes);
    rc = rest_seal(a->rest, err);
    if (mode == APP_COMMAND)
        http_set_read_only(a->http, app_read_only(a));
    return rc < 0 || mode == APP_COMMAND ? rc : http_listen(a->http, err);
}

static int open_rooms(struct app *a, enum app_mode mode, struct err *err)
{
    uint8_t seed[KEY_BYTES], credential[KEY_BYTES];
    int rc = key_file(a->store, "token.seed", seed, err);
    if (rc == 0)
        rc = key_file(a->store, "credential.key", credential, err);
    if (rc < 0)
        return rc;
    int loops = http_loops(a->http);
    size_t cache = mode == APP_SERVER ? (size_t)config_num(a->config, CACHE_SIZE) : 1u << 20;
    if (rc == 0 && mode == APP_SERVER) { /* a command's changes bring their rows; the next start seals them */
        struct audit_options ao = {.loops = loops};
        rc = audit_new(&a->audit, a->db, a->store, &ao, err);
    }
    if (rc == 0)
        rc = policy_open(&a->policy, a->db, a->config, err);
    struct ident_options io = {.db = a->db,
                               .policy = a->policy,
                               .net = a->net,
                               .audit = a->audit,
                               .config = a->config,
                               .token_seed = {(char *)seed, sizeof seed},
                               .credential_key = {(char *)credential, sizeof credential},
                               .store = a->store,
                               .url = mode == APP_SERVER ? http_url(a->http) : "http://localhost",
                               .loops = loops,
                               .cache_bytes = cache / 8};
    if (rc == 0)
        rc = ident_new(&a->ident, &io, err);
    secret_wipe(seed, sizeof seed);
    secret_wipe(credential, sizeof credential);
    if (rc < 0)
        return rc;
    struct registry_options ro = {
        .db = a->db, .store = a->store, .policy = a->policy, .config = a->config, .loops = loops, .cache_bytes = cache / 8 * 7};
    return registry_new(&a->registry, &ro, err);
}

/* An empty database beside blobs, or one that belongs to another store, is the wrong one. */
static int open_database(struct app *a, bool create, int readers, struct err *err)
{
    const char *dir = store_dir(a->store), *url = config_text(a->config, DATABASE);
    bool blobs = false;
    int rc = store_holds_blobs(a->store, &blobs, err);
    if (rc < 0)
        return rc;
    rc = db_open(&a->db, dir, url, readers, create && !blobs, err);
    if (rc == ERR_NOT_FOUND && blobs)
        return err_wrap(err, "%s holds blobs and needs the database that names them: set BERTH_DATABASE to it, or restore a backup elsewhere", dir);
    if (rc == 0 && (rc = db_bind(a->db, str_of(store_id(a->store)), err)) == ERR_USAGE)
        err_wrap(err, "%s: check data and BERTH_DATABASE", dir);
    return rc;
}

int app_open(struct app **ret, struct config *config, enum app_mode mode, bool create, struct err *err)
{
    struct app *a = mem_zalloc(sizeof *a);
    const char *dir = config_text(config, DATA);
    a->config = config;
    atomic_store(&a->read_only, config_num(config, READ_ONLY) != 0);
    a->lock_fd = -1;
    a->started = clock_now();
    int workers = (int)config_num(config, WORKERS), cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int readers = (workers > 0 ? workers : 16 + 4 * cores) + READERS_BESIDE_WORKERS;
    int rc = secret_setup(err);
    if (rc == 0) /* before the first thread */
        rc = net_new(&a->net, config_text(config, EGRESS_ALLOW), config_text(config, EGRESS_CA), err);
    if (rc == 0)
        rc = app_lock(dir, create, &a->lock_fd, err);
    if (rc == 0)
        rc = backup_restore_pending(dir, err);
    if (rc == 0)
        rc = store_open(&a->store, dir, create, err);
    if (rc == 0)
        rc = open_database(a, create, readers, err);
    if (rc == 0)
        rc = open_http(a, mode, err);
    if (rc == 0)
        rc = open_rooms(a, mode, err);
    if (rc < 0) {
        app_close(a);
        return rc;
    }
    *ret = a;
    return 0;
}

void app_close(struct app *a)
{
    if (!a)
        return;
    control_stop(a);
    forward_stop(a);
    if (a->registry)
        registry_background_stop(a->registry);
    http_free(a->http); /* runs what broken-off requests left, so before what they need */
    rest_free(a->rest);
    registry_free(a->registry);
    audit_free(a->audit); /* writes and seals what the loops counted */
    ident_free(a->ident);
    policy_close(a->policy); /* writes what the last pulls counted */
    net_free(a->net);
    db_close(a->db);
    store_close(a->store);
    if (a->lock_fd >= 0)
        close(a->lock_fd);
    config_free(a->config);
    free(a);
}

const char *app_read_only(const struct app *a)
{
    if (store_failed(a->store))
        return "the data volume failed to store data; see the log, then restart";
    if (db_failed(a->db))
        return "the database failed to store data; see the log, then restart";
    return atomic_load(&a->read_only) ? "switched on by the administrator (read_only)" : NULL;
}
