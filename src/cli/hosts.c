/* hosts.json: hubs and the tokens for them. Written whole beside it and renamed over it, under a lock, for
 * docker runs several helpers at once. */
#include "base/json.h"
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 4096, HOSTS_BYTES = 1 << 20 };
static const char FILE_NAME[] = "hosts.json";

void host_name(const char *text, char out[300])
{
    const char *scheme = strstr(text, "://");
    struct str rest = str_of(scheme ? scheme + 3 : text), host = {"", 0};
    str_split(&rest, '/', &host);
    text_copy(out, 300, host);
    for (char *p = out; *p; p++)
        *p = (char)tolower((unsigned char)*p);
}

static int folder(char out[PATH_LEN], struct err *err)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    bool xdg = config && config[0] == '/';
    if (!xdg && (!home || home[0] != '/'))
        return err_set(err, ERR_USAGE, "HOME is not set, so there is no place for logins");
    int n = snprintf(out, PATH_LEN, "%s%s/berth", xdg ? config : home, xdg ? "" : "/.config");
    return n < PATH_LEN ? 0 : err_set(err, ERR_USAGE, "HOME is too long");
}

/* The folder's descriptor, locked; make: with all that leads to it. 0: it is not there. */
static int open_folder(bool make, int *ret, struct err *err)
{
    char path[PATH_LEN];
    int rc = folder(path, err);
    if (rc < 0)
        return rc;
    for (char *p = strchr(path + 1, '/'); make; p = strchr(p + 1, '/')) {
        if (p)
            *p = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return err_sys(err, ERR_IO, "cannot make %s", path);
        if (!p)
            break;
        *p = '/';
    }
    auto_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || flock(fd, make ? LOCK_EX : LOCK_SH) != 0)
        return err_sys(err, ERR_IO, "cannot open %s", path);
    *ret = take_fd(&fd);
    return 1;
}

static int read_file(int dir, json_t **ret, struct err *err)
{
    auto_fd int fd = openat(dir, FILE_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        *ret = json_object();
        return 0;
    }
    struct buf b;
    char chunk[4096];
    long n = -1;
    buf_init(&b, HOSTS_BYTES);
    while (fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
        buf_add(&b, chunk, (size_t)n);
    explicit_bzero(chunk, sizeof chunk);
    int rc = n < 0 ? err_sys(err, ERR_IO, "cannot read hosts.json") : json_strict(buf_view(&b), JSON_CAPS_DEFAULT, ret, err);
    if (n == 0 && rc < 0)
        err_wrap(err, "hosts.json");
    password_release(&b);
    return rc;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        long k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return fsync(fd) == 0;
}

static int write_file(int dir, const json_t *all, struct err *err)
{
    static const char temporary[] = ".hosts.json";
    auto_free char *text = json_dumps(all, JSON_INDENT(2));
    (void)unlinkat(dir, temporary, 0);
    auto_fd int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = text && fd >= 0 && write_all(fd, text, strlen(text)) && renameat(dir, temporary, dir, FILE_NAME) == 0;
    int rc = ok ? 0 : err_sys(err, ERR_IO, "cannot write hosts.json");
    if (text)
        explicit_bzero(text, strlen(text));
    return rc;
}

int hosts_all(json_t **ret, struct err *err)
{
    auto_fd int dir = -1;
    int rc = open_folder(false, &dir, err);
    if (rc == 0)
        *ret = json_object();
    return rc <= 0 ? rc : read_file(dir, ret, err);
}

int hosts_get(const char *host, json_t **ret, struct err *err)
{
    json_t *all = NULL;
    int rc = hosts_all(&all, err);
    if (rc < 0)
        return rc;
    *ret = json_incref(json_object_get(all, host));
    json_decref(all);
    return *ret != NULL;
}

int hosts_put(const char *host, json_t *entry, struct err *err)
{
    auto_fd int dir = -1;
    json_t *all = NULL;
    int rc = open_folder(true, &dir, err);
    if (rc == 1)
        rc = read_file(dir, &all, err);
    if (rc == 0 && (entry ? json_object_set(all, host, entry) : json_object_del(all, host)) == 0)
        rc = write_file(dir, all, err);
    json_decref(entry);
    json_decref(all);
    return rc < 0 ? rc : 0;
}
