/* Private to the configuration: values as text and numbers. */
#ifndef BASE_CONFIG_INT_H
#define BASE_CONFIG_INT_H
#include "base/config.h"
/* Checks text against the key's type and bounds; *ret the number for non-text types. ERR_USAGE names
 * origin, key, value and what is allowed. */
int config_value_check(const struct config_key *k, struct str text, const char *origin, int64_t *ret,
                       struct err *err);
void config_value_print(const struct config_key *k, int64_t num, struct buf *out);
size_t config_distance(struct str a, struct str b); /* edits between two names; large when far apart */
#endif
