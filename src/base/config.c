/* Configuration: where each value comes from and who wins. See config.h; values are parsed in
 * config_value.c. */
#include "base/config.h"

#include "base/config_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 1 << 20, SECRET_MAX_BYTES = 64 << 10, PLACE_MAX = 320 };

extern char **environ;

static const struct config_key keys[CONFIG_COUNT] = {
#define X(id, name, type, def, min, max, allowed, reload, help)                                    \
    {name, CONFIG_##type, def, allowed, help, min, max, reload},
    CONFIG_KEYS(X)
#undef X
};

const struct config_key *config_keys(size_t *ret_n)
{
    *ret_n = CONFIG_COUNT;
    return keys;
}

int config_find(struct str name)
{
    char plain[64];
    if (name.n >= sizeof plain)
        return -1;
    for (size_t i = 0; i < name.n; i++)
        plain[i] = name.p[i] == '-' ? '_' : name.p[i];
    plain[name.n] = '\0';
    for (int i = 0; i < CONFIG_COUNT; i++)
        if (strcmp(keys[i].name, plain) == 0)
            return i;
    return -1;
}

static bool is_text(int k) { return keys[k].type == CONFIG_TEXT || keys[k].type == CONFIG_SECRET; }

static int set(struct config *c, int k, struct str text, const char *origin, struct err *err)
{
    int64_t num = 0;
    int rc = config_value_check(&keys[k], text, origin, &num, err);
    if (rc < 0)
        return rc;
    if (is_text(k)) {
        free(c->v[k].text);
        c->v[k].text = mem_strndup(text.p, text.n);
    } else {
        c->v[k].num = num;
    }
    free(c->origin[k]);
    c->origin[k] = mem_strdup(origin);
    return 0;
}

static int unknown(struct str name, const char *place, struct err *err)
{
    const char *near = NULL;
    size_t best = name.n / 3 + (name.n < 3) + 1; /* further off it is no slip of the finger */
    for (int i = 0; i < CONFIG_COUNT; i++) {
        size_t d = config_distance(name, str_of(keys[i].name));
        if (d < best) {
            best = d;
            near = keys[i].name;
        }
    }
    if (near != NULL)
        return err_set(err, ERR_NOT_FOUND, "%s: unknown key \"%.*s\"; did you mean \"%s\"?", place,
                       (int)(name.n > 64 ? 64 : name.n), name.p, near);
    return err_set(err, ERR_NOT_FOUND, "%s: unknown key \"%.*s\"; `berth config --help` explains the keys",
                   place, (int)(name.n > 64 ? 64 : name.n), name.p);
}

/* Whole file into out. ERR_NOT_FOUND when it does not exist. */
static int slurp(const char *path, struct buf *out, struct err *err)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_USAGE, "cannot read %s", path);
    char chunk[4096];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0)
            return err_sys(err, ERR_USAGE, "cannot read %s", path);
        if (n == 0)
            break;
        buf_add(out, chunk, (size_t)n);
    }
    if (out->overflow)
        return err_set(err, ERR_USAGE, "%s is larger than %zu bytes", path, out->cap);
    return 0;
}

static int file_line(struct config *c, struct str line, const char *place, struct err *err)
{
    line = str_trim(line);
    if (line.n != 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    struct str value = line, name;
    if (memchr(line.p, '=', line.n) == NULL)
        return err_set(err, ERR_USAGE, "%s: expected `key = value`", place);
    str_split(&value, '=', &name);
    name = str_trim(name);
    value = str_trim(value);
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
        value = (struct str){value.p + 1, value.n - 2};
    int k = config_find(name);
    if (k < 0)
        return unknown(name, place, err);
    if (keys[k].type == CONFIG_SECRET)
        return err_set(err, ERR_USAGE,
                       "%s: %s is a secret: set it by the environment, %s_FILE or a credential",
                       place, keys[k].name, "BERTH_<KEY>");
    return set(c, k, value, place, err);
}

static int load_file(struct config *c, const char *path, bool must, struct err *err)
{
    struct buf text;
    buf_init(&text, FILE_MAX_BYTES);
    int rc = slurp(path, &text, err);
    if (rc == ERR_NOT_FOUND) {
        buf_release(&text);
        return must ? err_set(err, ERR_USAGE, "configuration file %s does not exist", path) : 0;
    }
    struct str rest = buf_view(&text), line;
    for (int n = 1; rc == 0 && str_split(&rest, '\n', &line); n++) {
        char place[PLACE_MAX];
        snprintf(place, sizeof place, "file %.255s:%d", path, n);
        rc = file_line(c, line, place, err);
    }
    buf_release(&text);
    return rc;
}

static int set_from_file(struct config *c, int k, const char *path, const char *origin,
                         struct err *err)
{
    struct buf text;
    buf_init(&text, SECRET_MAX_BYTES);
    int rc = slurp(path, &text, err);
    if (rc == ERR_NOT_FOUND)
        rc = err_set(err, ERR_USAGE, "%s: %s does not exist", origin, path);
    struct str v = buf_view(&text);
    while (v.n != 0 && (v.p[v.n - 1] == '\n' || v.p[v.n - 1] == '\r'))
        v.n--;
    if (rc == 0)
        rc = set(c, k, v, origin, err);
    if (text.p != NULL)
        explicit_bzero(text.p, text.size);
    buf_release(&text);
    return rc;
}

/* BERTH_MAX_HEADER -> max_header; false when it does not fit a key's name. */
static bool env_key(struct str name, char out[64])
{
    if (name.n >= 64)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        if (ch >= 'a' && ch <= 'z')
            return false;
        out[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch + 32) : ch;
    }
    out[name.n] = '\0';
    return true;
}

/* A value and a file for it: which one was meant is not ours to guess. */
static int given_twice(const struct config *c, int k, struct err *err)
{
    if (str_starts(str_of(c->origin[k]), STR_LIT("environment")) ||
        str_starts(str_of(c->origin[k]), STR_LIT("file from ")))
        return err_set(err, ERR_USAGE, "%s: set either the variable or its _FILE, not both", keys[k].name);
    return 0;
}

static int env_one(struct config *c, const char *entry, struct err *err)
{
    struct str value = str_of(entry), name;
    str_split(&value, '=', &name);
    struct str bare = {name.p + 6, name.n - 6};
    if (str_is(bare, "CONFIG") || str_is(bare, "HOST") || str_starts(bare, STR_LIT("FAULT")) ||
        str_starts(bare, STR_LIT("TEST_")) || str_is(bare, "BIN"))
        return 0;
    char key[64], place[PLACE_MAX];
    int k = env_key(bare, key) ? config_find(str_of(key)) : -1;
    if (k >= 0)
        return given_twice(c, k, err) < 0 ? ERR_USAGE : set(c, k, value, "environment", err);
    snprintf(place, sizeof place, "environment %.*s", (int)(name.n > 100 ? 100 : name.n), name.p);
    if (str_ends(bare, STR_LIT("_FILE"))) {
        bare.n -= 5;
        k = env_key(bare, key) ? config_find(str_of(key)) : -1;
        if (k >= 0 && keys[k].type == CONFIG_SECRET) {
            snprintf(place, sizeof place, "file from %.*s", (int)(name.n > 100 ? 100 : name.n), name.p);
            return given_twice(c, k, err) < 0 ? ERR_USAGE : set_from_file(c, k, value.p, place, err);
        }
    }
    struct str shown = env_key(bare, key) ? str_of(key) : bare;
    return unknown(shown, place, err);
}

static int load_environment(struct config *c, struct err *err)
{
    int rc = 0;
    for (char **e = environ; rc == 0 && *e != NULL; e++)
        if (strncmp(*e, "BERTH_", 6) == 0 && strchr(*e, '=') != NULL)
            rc = env_one(c, *e, err);
    return rc;
}

static int load_credentials(struct config *c, struct err *err)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    int rc = 0;
    for (int k = 0; rc == 0 && dir != NULL && k < CONFIG_COUNT; k++) {
        char path[4096];
        if (keys[k].type != CONFIG_SECRET)
            continue;
        int n = snprintf(path, sizeof path, "%s/berth.%s", dir, keys[k].name);
        if (n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0)
            rc = set_from_file(c, k, path, "credential", err);
    }
    return rc;
}

static int load_flag(struct config *c, const char *flag, struct err *err)
{
    struct str value = str_of(flag), name;
    if (!str_starts(value, STR_LIT("--")) || strchr(flag, '=') == NULL)
        return err_set(err, ERR_USAGE, "expected --key=value, not \"%.64s\"", flag);
    str_split(&value, '=', &name);
    struct str bare = {name.p + 2, name.n - 2};
    int k = config_find(bare);
    if (k < 0)
        return unknown(bare, "flag", err);
    if (keys[k].type == CONFIG_SECRET)
        return err_set(err, ERR_USAGE,
                       "--%.*s: secrets are never flags (other users see them): use the environment, "
                       "BERTH_<KEY>_FILE or a credential",
                       STR_FMT(bare));
    return set(c, k, value, "flag", err);
}

static int load_flags(struct config *c, const char *const *flags, struct err *err)
{
    int rc = 0;
    for (; rc == 0 && flags != NULL && *flags != NULL; flags++)
        rc = load_flag(c, *flags, err);
    return rc;
}

static int check_whole(const struct config *c, struct err *err)
{
    bool cert = config_text(c, TLS_CERT)[0] != '\0', key = config_text(c, TLS_KEY)[0] != '\0';
    if (cert != key)
        return err_set(err, ERR_USAGE, "tls_cert and tls_key go together: %s is not set",
                       cert ? "tls_key" : "tls_cert");
    if (cert && config_num(c, TLS_SELF_SIGNED))
        return err_set(err, ERR_USAGE, "tls_self_signed and tls_cert exclude each other");
    return 0;
}

/* The data directory must be known before DATA/berth.conf can be read: flag, else environment. */
static const char *data_dir(const char *const *flags)
{
    for (; flags != NULL && *flags != NULL; flags++)
        if (strncmp(*flags, "--data=", 7) == 0)
            return *flags + 7;
    const char *env = getenv("BERTH_DATA");
    return env != NULL ? env : keys[CONFIG_DATA].def;
}

static int load_any_file(struct config *c, const char *file, const char *const *flags,
                         struct err *err)
{
    if (file == NULL)
        file = getenv("BERTH_CONFIG");
    if (file != NULL)
        return load_file(c, file, true, err);
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/berth.conf", data_dir(flags));
    return n > 0 && (size_t)n < sizeof path ? load_file(c, path, false, err) : 0;
}

int config_load(struct config **ret, const char *file, const char *const *flags, struct err *err)
{
    struct config *c = mem_zalloc(sizeof *c);
    int rc = 0;
    for (int k = 0; rc == 0 && k < CONFIG_COUNT; k++)
        rc = set(c, k, str_of(keys[k].def), "default", err);
    BUG_ON(rc != 0); /* a default outside its own bounds */
    if (rc == 0)
        rc = load_any_file(c, file, flags, err);
    if (rc == 0)
        rc = load_credentials(c, err);
    if (rc == 0)
        rc = load_environment(c, err);
    if (rc == 0)
        rc = load_flags(c, flags, err);
    if (rc == 0)
        rc = check_whole(c, err);
    if (rc < 0) {
        config_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    for (int k = 0; k < CONFIG_COUNT; k++) {
        if (keys[k].type == CONFIG_SECRET && c->v[k].text != NULL)
            explicit_bzero(c->v[k].text, strlen(c->v[k].text));
        if (is_text(k))
            free(c->v[k].text);
        free(c->origin[k]);
    }
    free(c);
}

static void print_one(const struct config *c, int k, bool json, struct buf *out)
{
    struct buf v;
    buf_init(&v, 65536);
    if (keys[k].type == CONFIG_SECRET)
        buf_cstr(&v, c->v[k].text[0] != '\0' ? "********" : "");
    else if (is_text(k))
        buf_cstr(&v, c->v[k].text);
    else
        config_value_print(&keys[k], c->v[k].num, &v);
    if (json) {
        buf_cstr(out, "{\"key\":");
        buf_json(out, str_of(keys[k].name));
        buf_cstr(out, ",\"value\":");
        buf_json(out, buf_view(&v));
        buf_cstr(out, ",\"origin\":");
        buf_json(out, str_of(c->origin[k]));
        buf_cstr(out, "}");
    } else {
        buf_printf(out, "%-28s = %-24s # %s\n", keys[k].name, v.p ? v.p : "", c->origin[k]);
    }
    buf_release(&v);
}

void config_print(const struct config *c, bool json, struct buf *out)
{
    for (int k = 0; k < CONFIG_COUNT; k++) {
        if (json)
            buf_cstr(out, k == 0 ? "[" : ",\n ");
        print_one(c, k, json, out);
    }
    if (json)
        buf_cstr(out, "]\n");
}
