/* Repository names and tags against the specification's own regular expressions, and what a canonical
 * name promises. */
#include "registry/registry_int.h"

#include <regex.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* distribution-spec, "Pulling manifests". */
#define PART "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
static const char name_text[] = "^" PART "(/" PART ")*$";
static const char tag_text[] = "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$";

static bool matches(const char *pattern, regex_t *re, bool *made, struct str s)
{
    if (!*made) {
        BUG_ON(regcomp(re, pattern, REG_EXTENDED | REG_NOSUB) != 0);
        *made = true;
    }
    char text[600];
    if (s.n >= sizeof text || (s.n > 0 && memchr(s.p, '\0', s.n) != NULL))
        return false;
    text_copy(text, sizeof text, s);
    return regexec(re, text, 0, NULL, 0) == 0;
}

static void check_canonical(struct str s)
{
    char first[NAME_MAX_BYTES + 9], again[NAME_MAX_BYTES + 9];
    struct err err = {0};
    int rc = canonical_name(s, first, &err);
    BUG_ON(rc != 0 && (rc != ERR_NAME_INVALID || err.text[0] == '\0'));
    if (rc != 0)
        return;
    struct str canonical = str_of(first);
    BUG_ON(!name_valid(s) || !name_valid(canonical) || memchr(first, '/', canonical.n) == NULL);
    BUG_ON(!str_ends(canonical, s) || (canonical.n != s.n && canonical.n != s.n + 8));
    struct str rest = canonical, part;
    str_split(&rest, '/', &part);
    BUG_ON(name_reserved_first(part));
    if (canonical.n <= NAME_MAX_BYTES)
        BUG_ON(canonical_name(canonical, again, NULL) != 0 || strcmp(first, again) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static regex_t name_re, tag_re;
    static bool name_made, tag_made;
    struct str s = {(const char *)data, size};
    bool short_enough = s.n <= NAME_MAX_BYTES + 8;
    BUG_ON(name_valid(s) != (short_enough && matches(name_text, &name_re, &name_made, s)));
    BUG_ON(tag_valid(s) != matches(tag_text, &tag_re, &tag_made, s));
    check_canonical(s);
    return 0;
}
