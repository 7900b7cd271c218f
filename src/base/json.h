/* Strict JSON in front of jansson: RFC 8259, UTF-8, duplicate keys refused, nothing after the
 * value, and caps checked by an iterative scan BEFORE anything is allocated (T38). */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include "base/err.h"
#include <jansson.h>
struct json_caps {
    size_t bytes; /* longest document */
    int depth;    /* deepest nesting of arrays and objects */
    size_t nodes; /* most values and keys */
};
#define JSON_CAPS_DEFAULT ((struct json_caps){4u << 20, 64, 100000})
/* ERR_INVALID with offset and reason. Free with json_decref. */
int json_strict(struct str text, struct json_caps caps, json_t **ret, struct err *err);
#endif
