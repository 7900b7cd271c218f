/* Strict JSON in front of jansson: what is accepted keeps within the caps and means the same when it
 * is written and read again; what is refused for its grammar jansson refuses, too. First byte: caps. */
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int depth_of(const json_t *v, size_t *nodes)
{
    int deepest = 0;
    size_t i;
    const char *key;
    json_t *child;
    ++*nodes;
    json_array_foreach(v, i, child)
    {
        int d = depth_of(child, nodes);
        deepest = d > deepest ? d : deepest;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, child)
    {
        int d = depth_of(child, nodes);
        deepest = d > deepest ? d : deepest;
        ++*nodes;
    }
    return deepest + (json_is_array(v) || json_is_object(v));
}

static void check_accepted(const json_t *doc, struct json_caps caps)
{
    size_t nodes = 0;
    BUG_ON(depth_of(doc, &nodes) > caps.depth || nodes > caps.nodes);
    auto_free char *text = json_dumps(doc, JSON_COMPACT);
    BUG_ON(text == NULL);
    json_t *again = NULL;
    struct err err = {0};
    /* Real numbers may be written longer than they were read. */
    if (json_strict(str_of(text), JSON_CAPS_DEFAULT, &again, &err) == 0) {
        BUG_ON(!json_equal(doc, again));
        json_decref(again);
    } else {
        BUG_ON(strstr(err.text, "longer than 64") == NULL);
    }
}

/* The refusals that are this scanner's own: caps, and a number of many digits. */
static bool own_rule(const struct err *e)
{
    static const char *const rules[] = {"nested too deep", "too many values", "longer than 64", "at most"};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (strstr(e->text, rules[i]) != NULL)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct json_caps caps = data[0] & 1 ? (struct json_caps){64, 4, 12} : JSON_CAPS_DEFAULT;
    struct str text = {(const char *)data + 1, size - 1};
    struct err err = {0};
    json_t *doc = NULL;
    int rc = json_strict(text, caps, &doc, &err);
    if (rc == 0) {
        check_accepted(doc, caps);
        json_decref(doc);
        return 0;
    }
    BUG_ON((rc != ERR_INVALID && rc != ERR_TOO_LARGE) || err.text[0] == '\0' || doc != NULL);
    if (text.n != 0 && memchr(text.p, '\0', text.n) != NULL)
        return 0; /* jansson overlooks a NUL behind a number */
    doc = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    BUG_ON(doc != NULL && !own_rule(&err));
    json_decref(doc);
    return 0;
}
