/* Pages of lists by the key of their last row. */
#include "rest/rest_int.h"

enum { CURSOR_BYTES = CURSOR_MAX / 4 * 3 };

json_t *rest_cursor_parse(struct str text, const char *types)
{
    uint8_t bytes[CURSOR_BYTES];
    json_t *key = NULL;
    if (text.n > CURSOR_MAX)
        return NULL;
    long n = base64url_decode(bytes, sizeof bytes, text);
    struct json_caps caps = {CURSOR_BYTES, 1, 9};
    if (n <= 0 || json_strict((struct str){(const char *)bytes, (size_t)n}, caps, &key, NULL) < 0)
        return NULL;
    bool good = json_is_array(key) && json_array_size(key) == strlen(types);
    for (size_t i = 0; good && types[i] != '\0'; i++) {
        const json_t *v = json_array_get(key, i);
        good = types[i] == 'i' ? json_is_integer(v) : json_is_string(v);
    }
    auto_free char *own = good ? json_dumps(key, JSON_COMPACT) : NULL; /* as it was written, and no other way */
    if (own != NULL && str_is((struct str){(const char *)bytes, (size_t)n}, own))
        return key;
    json_decref(key);
    return NULL;
}

char *rest_cursor_text(struct arena *a, const json_t *key)
{
    auto_free char *text = json_dumps(key, JSON_COMPACT);
    BUG_ON(text == NULL || strlen(text) > CURSOR_BYTES);
    char *out = arena_alloc(a, CURSOR_MAX + 1);
    base64url_encode(out, text, strlen(text));
    return out;
}

int64_t rest_page(struct rest_call *c)
{
    json_decref(c->items);
    json_decref(c->last);
    c->items = json_array();
    c->last = NULL;
    c->more = false;
    return c->limit + 1;
}

bool rest_is_first(const struct rest_call *c) { return c->after == NULL; }

struct str rest_after_text(const struct rest_call *c, size_t k)
{
    const json_t *v = json_array_get(c->after, k);
    return v ? (struct str){json_string_value(v), json_string_length(v)} : STR_LIT("");
}

int64_t rest_after_int(const struct rest_call *c, size_t k, int64_t first)
{
    const json_t *v = json_array_get(c->after, k);
    return v ? json_integer_value(v) : first;
}

void rest_add(struct rest_call *c, json_t *item, json_t *key)
{
    BUG_ON(item == NULL || key == NULL || json_array_size(key) != strlen(c->row->cursor));
    if ((int64_t)json_array_size(c->items) == c->limit) {
        c->more = true;
        json_decref(item);
        json_decref(key);
        return;
    }
    json_array_append_new(c->items, item);
    json_decref(c->last);
    c->last = key;
}

bool rest_full(const struct rest_call *c) { return c->more; }

int rest_send_page(struct rest_call *c)
{
    json_t *next = c->more ? json_string(rest_cursor_text(&c->r->arena, c->last)) : json_null();
    json_t *doc = json_object();
    json_object_set_new(doc, "items", take(&c->items));
    json_object_set_new(doc, "next", next);
    return rest_send(c, doc);
}
