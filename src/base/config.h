/* Configuration: one table of keys (config_keys.h); each key is a line `key = value` of the file,
 * an environment variable BERTH_<KEY> and a flag --key-with-dashes. Precedence: flag, environment,
 * file, default. Secrets come from the environment, BERTH_<KEY>_FILE or a systemd credential
 * ($CREDENTIALS_DIRECTORY/berth.<key>), never from a flag or the file.
 * An unknown or wrong key is ERR_USAGE with the key's name, where it stands (file:line) and the
 * allowed values. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H
#include "base/err.h"
#include "base/config_keys.h"

enum config_type { CONFIG_TEXT, CONFIG_SECRET, CONFIG_BOOL, CONFIG_INT, CONFIG_SIZE, CONFIG_TIME, CONFIG_ENUM };
/* SIZE accepts K M G T (powers of 1024) and is kept in bytes; TIME accepts ms s m h d and is kept
 * in microseconds; 0 means "off" where the help says so. */
union config_value {
    char *text;  /* owned by the config; "" when unset */
    int64_t num; /* BOOL 0/1, INT, SIZE bytes, TIME microseconds, ENUM index into the allowed list */
};
struct config {
    union config_value v[CONFIG_COUNT];
    char *origin[CONFIG_COUNT]; /* "default", "file x:3", "environment", "flag", "file from BERTH_X_FILE", "credential" */
};
#define config_text(c, key) ((const char *)(c)->v[CONFIG_##key].text)
#define config_num(c, key) ((c)->v[CONFIG_##key].num)

/* Loads everything. flags: NULL-terminated list of "--key=value" (already split by the CLI).
 * file may be NULL (then BERTH_CONFIG, else DATA/berth.conf when it exists). ERR_NOT_FOUND: a key that
 * there is not; ERR_USAGE: a wrong value or place. */
int config_load(struct config **ret, const char *file, const char *const *flags, struct err *err);
void config_free(struct config *c);
/* The effective configuration, one key a line with its origin; secrets masked as ********. */
void config_print(const struct config *c, bool json, struct buf *out);
/* Keys with flag --help texts, for the CLI, the man page and completions. */
struct config_key {
    const char *name;      /* "max_body" */
    enum config_type type;
    const char *def, *allowed, *help;
    int64_t min, max;
    bool reload;           /* SIGHUP applies it */
};
const struct config_key *config_keys(size_t *ret_n);
int config_find(struct str name); /* index or -1; dashes count as underscores */
#endif
