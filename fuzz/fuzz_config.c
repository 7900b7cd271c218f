/* Configuration. First byte even: it chooses a key, the rest is a value of it; a number that is
 * accepted lies within its bounds and is read again from how it is printed. Odd: the rest is a
 * configuration file. */
#include "base/config_int.h"
#include "base/json.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const struct config_key *k, struct str text)
{
    int64_t num = 0, again = 0;
    struct err err = {0};
    int rc = config_value_check(k, text, "flag", &num, &err);
    BUG_ON(rc != 0 && (rc != ERR_USAGE || strstr(err.text, k->name) == NULL));
    if (rc != 0 || k->type == CONFIG_TEXT || k->type == CONFIG_SECRET)
        return;
    bool bounded = k->type != CONFIG_BOOL && k->type != CONFIG_ENUM;
    BUG_ON(bounded && (num < k->min || num > k->max));
    struct buf b;
    buf_init(&b, 256);
    config_value_print(k, num, &b);
    if (k->type == CONFIG_TIME && num % 1000 != 0) /* shown in milliseconds; none is finer but a bare number */
        buf_release(&b);
    else
        BUG_ON(config_value_check(k, buf_view(&b), "flag", &again, &err) != 0 || again != num);
    buf_release(&b);
}

static void check_printed(const struct config *c)
{
    struct buf out;
    json_t *doc = NULL;
    buf_init(&out, 4 << 20);
    config_print(c, true, &out);
    BUG_ON(out.overflow || json_strict(buf_view(&out), JSON_CAPS_DEFAULT, &doc, NULL) != 0);
    BUG_ON(json_array_size(doc) != CONFIG_COUNT);
    json_decref(doc);
    buf_reset(&out);
    config_print(c, false, &out);
    buf_release(&out);
}

static void check_file(struct str text)
{
    auto_fd int fd = memfd_create("fuzz", MFD_CLOEXEC);
    static const char *const flags[] = {NULL};
    char path[64];
    struct config *c = NULL;
    struct err err = {0};
    BUG_ON(fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = config_load(&c, path, flags, &err);
    BUG_ON(rc != 0 && ((rc != ERR_USAGE && rc != ERR_NOT_FOUND) || err.text[0] == '\0' || c != NULL));
    if (rc == 0)
        check_printed(c);
    config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t n;
    const struct config_key *keys = config_keys(&n);
    struct str rest = {(const char *)data + 1, size - 1};
    if (data[0] & 1)
        check_file(rest);
    else
        check_value(&keys[(data[0] >> 1) % n], rest);
    (void)config_find(rest);
    return 0;
}
