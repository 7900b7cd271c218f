/* berth serve: from the first administrator to the last answer. */
#include "app/app.h"
#include "app/control.h"
#include "app/forward.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "crypt/secret.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PASSWORD_BYTES = 16 };

/* Tells systemd (sd_notify(3)); nothing without NOTIFY_SOCKET. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof a.sun_path)
        return;
    memcpy(a.sun_path, path, strlen(path));
    if (path[0] == '@')
        a.sun_path[0] = '\0';
    auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd >= 0)
        (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a, n);
}

static sigset_t take_signals(void)
{
    sigset_t set;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write, not the end */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return set;
}

static void raise_descriptors(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

/* The file comes before the user: a crash between the two makes a new password at the next start. */
static int first_start(struct app *a, struct err *err)
{
    char random[2 * PASSWORD_BYTES + 1];
    const char *user = config_text(a->config, ADMIN_USER), *given = config_text(a->config, ADMIN_PASSWORD);
    struct str password = str_of(given);
    bool made = false, any = false;
    int rc = ident_has_users(a->ident, &any, err);
    if (rc < 0 || any)
        return rc;
    if (password.n == 0) {
        secret_random_hex(random, PASSWORD_BYTES);
        password = str_of(random);
        if ((rc = store_key_write(a->store, "admin-password", password, err)) < 0)
            return rc;
    }
    rc = ident_first_start(a->ident, str_of(user), password, &made, err);
    if (rc == 0 && made && given[0] == '\0')
        printf("administrator %s, password %s (kept in %s/keys/admin-password)\n", user, random,
               store_dir(a->store));
    else if (rc == 0 && made)
        printf("administrator %s was made with the password given\n", user);
    secret_wipe(random, sizeof random);
    return rc;
}

static void apply_log(const struct config *c)
{
    log_setup((enum log_level)config_num(c, LOG_LEVEL), (enum log_format)config_num(c, LOG_FORMAT));
}

/* Keys that a reload cannot apply keep their value; the log names those that differ. */
static void keep_fixed(const struct config *old, struct config *c)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t k = 0; k < n; k++) {
        bool text = keys[k].type == CONFIG_TEXT || keys[k].type == CONFIG_SECRET;
        if (keys[k].reload)
            continue;
        if (text ? strcmp(old->v[k].text, c->v[k].text) != 0 : old->v[k].num != c->v[k].num)
            log_line(LOG_WARN, "this key needs a restart", F_CSTR("key", keys[k].name));
        if (text) {
            free(c->v[k].text);
            c->v[k].text = mem_strdup(old->v[k].text);
        } else {
            c->v[k].num = old->v[k].num;
        }
    }
}

static void reload(struct app *a, const char *file, const char *const *flags)
{
    struct err err = {0};
    struct config *c = NULL;
    if (config_load(&c, file, flags, &err) < 0 || forward_check(c, &err) < 0) {
        log_line(LOG_ERROR, "not reloaded: the configuration is wrong", F_CSTR("error", err.text));
        config_free(c);
        return;
    }
    notify("RELOADING=1");
    keep_fixed(a->config, c);
    apply_log(c);
    http_reload(a->http, c);
    ident_reload(a->ident, c);
    policy_reload(a->policy, c);
    registry_reload(a->registry, c);
    forward_reload(a->forward, c);
    atomic_store(&a->read_only, config_num(c, READ_ONLY) != 0);
    config_free(c); /* every room has taken what it needs */
    log_line(LOG_INFO, "reloaded", F_CSTR("file", file ? file : ""));
    notify("READY=1");
}

static void watch_read_only(struct app *a, const char **last)
{
    const char *why = app_read_only(a);
    if (why == *last)
        return;
    *last = why;
    metric_set(METRIC_STORE_READONLY, why != NULL);
    http_set_read_only(a->http, why);
    log_line(why ? LOG_WARN : LOG_INFO, why ? "read-only" : "writable", F_CSTR("reason", why ? why : ""));
}

static void run(struct app *a, const sigset_t *set, const char *file, const char *const *flags)
{
    const struct timespec second = {.tv_sec = 0, .tv_nsec = 500000000};
    const char *why = NULL;
    for (;;) {
        watch_read_only(a, &why);
        int sig = sigtimedwait(set, NULL, &second);
        if (sig == SIGHUP)
            reload(a, file, flags);
        else if (sig == SIGTERM || sig == SIGINT)
            return;
    }
}

static int start(struct app *a, struct err *err)
{
    int rc = first_start(a, err);
    if (config_num(a->config, READ_ONLY))
        http_set_read_only(a->http, app_read_only(a));
    if (rc == 0)
        rc = audit_start(a->audit, err);
    if (rc == 0)
        rc = forward_start(a, err);
    if (rc == 0)
        rc = policy_start(a->policy, err);
    if (rc == 0)
        rc = http_start(a->http, err);
    if (rc == 0)
        rc = registry_background_start(a->registry, err);
    return rc < 0 ? rc : control_start(a, err);
}

/* What the start would stumble over later, with data already made. */
static int check_settings(const struct config *c, struct err *err)
{
    static const int files[] = {CONFIG_TLS_CERT, CONFIG_TLS_KEY};
    struct str password = str_of(config_text(c, ADMIN_PASSWORD));
    size_t n;
    const struct config_key *keys = config_keys(&n);
    if (ident_account_name_check(str_of(config_text(c, ADMIN_USER)), err) < 0)
        return err_wrap(err, "admin_user (%s): \"%.64s\"", c->origin[CONFIG_ADMIN_USER], config_text(c, ADMIN_USER));
    if (password.n > 0 && ident_password_check(password, err) < 0)
        return err_wrap(err, "admin_password (%s)", c->origin[CONFIG_ADMIN_PASSWORD]);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const char *path = c->v[files[i]].text;
        if (path[0] != '\0' && access(path, R_OK) != 0)
            return err_sys(err, ERR_USAGE, "%s (%s): cannot read %s", keys[files[i]].name, c->origin[files[i]], path);
    }
    return forward_check(c, err);
}

int app_serve(struct config *config, const char *config_file, const char *const *flags)
{
    struct err err = {0};
    struct app *a = NULL;
    sigset_t set = take_signals();
    (void)umask(077);
    raise_descriptors();
    apply_log(config);
    int rc = check_settings(config, &err);
    if (rc < 0) {
        fprintf(stderr, "berth: %s\n", err.text);
        config_free(config);
        return 2;
    }
    rc = app_open(&a, config, APP_SERVER, true, &err);
    if (rc == 0)
        log_start();
    if (rc == 0)
        rc = start(a, &err);
    if (rc < 0) {
        fprintf(stderr, "berth: %s\n", err.text);
        app_close(a);
        log_stop();
        return 1;
    }
    printf("ready on %s\n", http_url(a->http));
    (void)fflush(stdout);
    notify("READY=1");
    log_line(LOG_INFO, "ready", F_CSTR("url", http_url(a->http)), F_CSTR("version", BERTH_VERSION),
             F_CSTR("database", db_is_postgres(a->db) ? "postgresql" : "sqlite"));
    run(a, &set, config_file, flags);
    notify("STOPPING=1");
    log_line(LOG_INFO, "stopping");
    http_drain(a->http);
    app_close(a);
    log_stop();
    return 0;
}
