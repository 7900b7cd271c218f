/* Values against the tables of their shape. */
#include "rest/rest_int.h"

#include <stdarg.h>
#include <stdio.h>

enum { PATH_MAX_ = 256, MESSAGE_MAX = 256 };

struct walk {
    bool lenient;
    rest_tell tell;
    void *arg;
    int faults;
    char path[PATH_MAX_]; /* "bounds[0].scope" */
};

static void fault(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct walk *w, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list ap;
    if (w->faults++ >= FAULTS_MAX)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->tell(w->arg, w->path, text);
}

/* Leaves what was there before at its old length, which the caller puts back. */
static size_t enter(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static size_t enter(struct walk *w, const char *fmt, ...)
{
    size_t n = strlen(w->path);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(w->path + n, sizeof w->path - n, fmt, ap);
    va_end(ap);
    return n;
}

static const char *type_name(enum rest_type t)
{
    static const char *const names[] = {"?", "a string", "a whole number", "true or false", "a time (RFC 3339)",
                                        "a string", "an object", "an array"};
    return names[t];
}

static int64_t characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void check_string(struct walk *w, const struct rest_field *f, struct str s, bool lengths)
{
    int64_t n = characters(s);
    if (lengths && n < f->min)
        fault(w, f->min == 1 ? "may not be empty" : "must have at least %lld characters", (long long)f->min);
    else if (lengths && f->max != 0 && n > f->max)
        fault(w, "has %lld characters; at most %lld are allowed", (long long)n, (long long)f->max);
    else if (f->check != NULL && !f->check->fits(s))
        fault(w, "%s", f->check->says);
}

static void check_enum(struct walk *w, const struct rest_field *f, struct str s)
{
    struct buf list;
    for (const char *const *word = f->words; *word != NULL; word++)
        if (str_is(s, *word))
            return;
    buf_init(&list, MESSAGE_MAX);
    for (const char *const *word = f->words; *word != NULL; word++)
        buf_printf(&list, "%s%s", list.n ? ", " : "", *word);
    fault(w, "must be one of %s", list.p);
    buf_release(&list);
}

static void check_object(struct walk *w, const struct rest_field *fields, json_t *doc);

static void check_value(struct walk *w, const struct rest_field *f, enum rest_type type, json_t *v, bool item);

static void check_array(struct walk *w, const struct rest_field *f, json_t *v)
{
    size_t i;
    json_t *item;
    int64_t n = (int64_t)json_array_size(v);
    if (n < f->min || (f->max != 0 && n > f->max)) {
        fault(w, "has %lld items; %lld to %lld are allowed", (long long)n, (long long)f->min, (long long)f->max);
        return;
    }
    json_array_foreach(v, i, item)
    {
        size_t at = enter(w, "[%zu]", i);
        check_value(w, f, f->schema ? REST_OBJECT : f->of, item, true);
        w->path[at] = '\0';
    }
}

static void check_value(struct walk *w, const struct rest_field *f, enum rest_type type, json_t *v, bool item)
{
    struct str s = {json_string_value(v), json_string_length(v)};
    bool text = type == REST_STRING || type == REST_ENUM || type == REST_TIME;
    int64_t ignored;
    if (json_is_null(v) && f->nullable && !item)
        return;
    if (text ? !json_is_string(v)
             : type == REST_INT      ? !json_is_integer(v)
               : type == REST_BOOL   ? !json_is_boolean(v)
               : type == REST_OBJECT ? !json_is_object(v)
                                     : !json_is_array(v)) {
        fault(w, "must be %s%s", type_name(type), f->nullable && !item ? " or null" : "");
        return;
    }
    if (type == REST_STRING)
        check_string(w, f, s, !item);
    else if (type == REST_ENUM)
        check_enum(w, f, s);
    else if (type == REST_TIME && !rest_time_parse(s, &ignored))
        fault(w, "must be a time like 2026-01-02T03:04:05Z (RFC 3339)");
    else if (type == REST_INT && !item && (f->min != 0 || f->max != 0) &&
             (json_integer_value(v) < f->min || json_integer_value(v) > f->max))
        fault(w, "must be a whole number from %lld to %lld", (long long)f->min, (long long)f->max);
    else if (type == REST_OBJECT)
        check_object(w, f->schema->fields, v);
    else if (type == REST_ARRAY)
        check_array(w, f, v);
}

static const struct rest_field *field_named(const struct rest_field *f, const char *name)
{
    while (f->name != NULL && strcmp(f->name, name) != 0)
        f++;
    return f->name ? f : NULL;
}

static void unknown(struct walk *w, const struct rest_field *fields)
{
    struct buf list;
    buf_init(&list, MESSAGE_MAX);
    for (const struct rest_field *f = fields; f->name != NULL; f++)
        buf_printf(&list, "%s%s", list.n ? ", " : "; allowed: ", f->name);
    fault(w, "is not known here%s", list.n ? list.p : "");
    buf_release(&list);
}

static void check_object(struct walk *w, const struct rest_field *fields, json_t *doc)
{
    const char *dot = w->path[0] ? "." : "", *key;
    void *next;
    json_t *v;
    json_object_foreach_safe(doc, next, key, v)
    {
        const struct rest_field *f = field_named(fields, key);
        if (f == NULL && w->lenient) {
            json_object_del(doc, key);
            continue;
        }
        size_t at = enter(w, "%s%.64s", dot, key);
        if (f == NULL)
            unknown(w, fields);
        else
            check_value(w, f, f->type, v, false);
        w->path[at] = '\0';
    }
    for (const struct rest_field *f = fields; f->name != NULL; f++)
        if (f->required && json_object_get(doc, f->name) == NULL) {
            size_t at = enter(w, "%s%s", dot, f->name);
            fault(w, "is needed");
            w->path[at] = '\0';
        }
}

int rest_check_fields(const struct rest_field *fields, json_t *doc, bool lenient, rest_tell tell, void *arg)
{
    struct walk w = {.lenient = lenient, .tell = tell, .arg = arg};
    if (json_is_object(doc))
        check_object(&w, fields, doc);
    else
        fault(&w, "must be an object");
    return w.faults;
}

int rest_check(const struct rest_schema *s, json_t *doc, bool lenient, rest_tell tell, void *arg)
{
    return rest_check_fields(s->fields, doc, lenient, tell, arg);
}

/* --- times */

static bool digits(struct str *s, size_t n, int64_t *ret)
{
    uint64_t v;
    if (s->n < n || !str_u64((struct str){s->p, n}, &v))
        return false;
    *s = (struct str){s->p + n, s->n - n};
    *ret = (int64_t)v;
    return true;
}

static bool one_of(struct str *s, const char *allowed, char *ret)
{
    if (s->n == 0 || s->p[0] == '\0' || strchr(allowed, s->p[0]) == NULL)
        return false;
    *ret = s->p[0];
    *s = (struct str){s->p + 1, s->n - 1};
    return true;
}

/* Days since 1970 of a date of the Gregorian calendar: years begin in March, so that a leap day ends one. */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, year = y - era * 400, day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + year * 365 + year / 4 - year / 100 + day - 719468;
}

static bool fraction(struct str *s, int64_t *ret_us)
{
    int64_t us = 0, unit = 100000;
    char c;
    if (!one_of(s, "0123456789", &c))
        return false;
    do {
        if (unit == 0)
            return false;
        us += (c - '0') * unit;
        unit /= 10;
    } while (one_of(s, "0123456789", &c));
    *ret_us = us;
    return true;
}

static bool offset(struct str *s, char sign, int64_t *ret_minutes)
{
    int64_t h, m;
    char c;
    *ret_minutes = 0;
    if (sign == 'Z' || sign == 'z')
        return s->n == 0;
    if (!digits(s, 2, &h) || !one_of(s, ":", &c) || !digits(s, 2, &m) || h > 23 || m > 59 || s->n != 0)
        return false;
    *ret_minutes = (sign == '-' ? -1 : 1) * (h * 60 + m);
    return true;
}

bool rest_time_parse(struct str s, int64_t *ret_us)
{
    static const int8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t y, mo, d, h, mi, sec, us = 0, off;
    char c;
    if (!digits(&s, 4, &y) || !one_of(&s, "-", &c) || !digits(&s, 2, &mo) || !one_of(&s, "-", &c) ||
        !digits(&s, 2, &d) || !one_of(&s, "Tt", &c) || !digits(&s, 2, &h) || !one_of(&s, ":", &c) ||
        !digits(&s, 2, &mi) || !one_of(&s, ":", &c) || !digits(&s, 2, &sec) || !one_of(&s, ".Zz+-", &c))
        return false;
    if (c == '.' && (!fraction(&s, &us) || !one_of(&s, "Zz+-", &c)))
        return false;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (mo < 1 || mo > 12 || d < 1 || d > month_days[mo - 1] + (leap && mo == 2) || h > 23 || mi > 59 || sec > 59 ||
        !offset(&s, c, &off))
        return false;
    *ret_us = ((days_of(y, mo, d) * 1440 + h * 60 + mi - off) * 60 + sec) * 1000000 + us;
    return true;
}
