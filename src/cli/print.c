/* What the command line says: help, errors, tables, progress. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COLUMN_WIDTH = 27 /* of a time */, DIGEST_WIDTH = 71 /* of sha256 */, VALUE_MAX = 1 << 20 };

/* Names come from archives and clients: what a terminal would obey becomes a question mark. */
static void tame(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) /* C1 in UTF-8 */
            p[0] = p[1] = '?';
    }
}

int print_error(const char *text)
{
    char line[2 * ERR_TEXT_MAX];
    snprintf(line, sizeof line, "%s", text);
    tame(line);
    fprintf(stderr, "berth: %s\n", line);
    return CLI_FAILED;
}

void print_line(const char *text)
{
    char line[2 * ERR_TEXT_MAX];
    snprintf(line, sizeof line, "%s", text);
    tame(line);
    printf("%s\n", line);
}

void print_detail(const char *name, const char *text)
{
    char line[2 * ERR_TEXT_MAX];
    snprintf(line, sizeof line, "%.200s: %s", name, text);
    tame(line);
    fprintf(stderr, "  %s\n", line);
}

void print_help(void)
{
    printf("Berth, a self-hosted container registry.\n\nUsage: berth COMMAND [OPTIONS]\n\nCommands:\n");
    for (size_t i = 0; i < n_cli_commands; i++)
        printf("  %-19s  %-20s  %s\n", cli_commands[i].name, cli_commands[i].operands, cli_commands[i].summary);
    printf("\n`berth COMMAND --help` tells more; berth(1) and berth.conf(5) tell all.\n");
}

static void print_keys(void)
{
    size_t n;
    const struct config_key *k = config_keys(&n);
    printf("\nConfiguration keys (also BERTH_<KEY> in the environment, or `key = value` in the file):\n");
    for (size_t i = 0; i < n; i++) {
        bool secret = k[i].type == CONFIG_SECRET;
        printf("  %s%-28s %s\n  %30s [%s] default: %s\n", secret ? "  " : "--", k[i].name, k[i].help, "",
               secret ? "environment, BERTH_<KEY>_FILE or credential only" : k[i].allowed,
               k[i].def[0] ? k[i].def : "none");
    }
}

static void print_option(const char *name, const char *value, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", name, value ? " " : "", value ? value : "");
    printf("  --%-28s %s\n", left, help);
}

void print_command_help(const struct cli_command *c)
{
    const char *help = c->help ? c->help : "";
    printf("Usage: berth %s%s%s [OPTIONS]\n\n%s.\n%s%s", c->name, c->operands[0] ? " " : "", c->operands, c->summary, help,
           help[0] ? "\n" : "");
    printf("\nOptions:\n");
    for (size_t i = 0; i < ARRAY_LEN(c->flags) && c->flags[i].name; i++)
        print_option(c->flags[i].name, c->flags[i].value, c->flags[i].help);
    if (asks_api(c)) {
        print_option("host", "HOST", "The hub to ask, see `berth login` (default: BERTH_HOST, else the data directory)");
        print_option("ca", "FILE", "With --host: certificates to trust beside the system's");
        print_option("login", NULL, "With --host: the own password instead of the token; for what no token may do");
    }
    print_option("data", "DIR", "Data directory (default: data)");
    print_option("config", "FILE", "Configuration file (default: DATA/berth.conf when it is there)");
    print_option("json", NULL, "Output for machines: one JSON object a line");
    print_option("help", NULL, "This text");
    if (c->all_keys)
        print_keys();
}

void printer_init(struct printer *p, bool json, const char *columns)
{
    *p = (struct printer){.json = json, .terminal = isatty(STDERR_FILENO) != 0, .columns = columns};
}

/* Arrays as "a,b", objects in them as "x:y". */
static void add_text(struct buf *b, const json_t *v)
{
    const char *gap = json_is_array(v) ? "," : ":", *key;
    size_t i;
    json_t *one;
    if (json_is_string(v))
        buf_str(b, (struct str){json_string_value(v), json_string_length(v)});
    else if (json_is_integer(v))
        buf_i64(b, json_integer_value(v));
    else if (json_is_boolean(v))
        buf_cstr(b, json_is_true(v) ? "yes" : "no");
    size_t from = b->n;
    json_array_foreach((json_t *)(uintptr_t)v, i, one)
    {
        buf_cstr(b, b->n > from ? gap : "");
        add_text(b, one);
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
    {
        buf_cstr(b, b->n > from ? gap : "");
        add_text(b, one);
    }
}

static void value_text(const json_t *v, char *out, size_t cap)
{
    struct buf b;
    buf_init(&b, VALUE_MAX);
    add_text(&b, v);
    for (char *p = b.p, *end = b.p + b.n; b.n > 0 && p < end; p++)
        if (*p == '\0')
            *p = '?';
    text_copy(out, cap, buf_view(&b));
    buf_release(&b);
    tame(out);
}

void print_member(const json_t *o, const char *name)
{
    char text[1024];
    value_text(json_object_get(o, name), text, sizeof text);
    printf("%s\n", text);
}

static void print_members(const json_t *o, const char *of)
{
    const char *key;
    json_t *v;
    char text[1024], name[64];
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        snprintf(name, sizeof name, "%.30s%s%.30s", of, of[0] ? "." : "", key);
        tame(name);
        if (json_is_object(v) && !of[0]) {
            print_members(v, key);
            continue;
        }
        value_text(v, text, sizeof text);
        printf("%-22s %s\n", name, text);
    }
}

void print_object(const json_t *o) { print_members(o, ""); }

static int width_of(const struct printer *p, size_t i, struct str column)
{
    if (i < CLI_COLUMNS_MAX && p->widths[i] > 0)
        return p->widths[i];
    return str_is(column, "digest") ? DIGEST_WIDTH : COLUMN_WIDTH;
}

void printer_fit(struct printer *p, const json_t *items)
{
    struct str rest = str_of(p->columns), column;
    char text[1024], key[64];
    size_t k;
    json_t *item;
    for (size_t i = 0; p->n_items == 0 && i < CLI_COLUMNS_MAX && str_split(&rest, ',', &column); i++) {
        text_copy(key, sizeof key, column);
        p->widths[i] = (int)column.n + 1;
        json_array_foreach((json_t *)(uintptr_t)items, k, item)
        {
            value_text(json_object_get(item, key), text, sizeof text);
            int n = (int)strlen(text) + 1;
            p->widths[i] = n > p->widths[i] ? n : p->widths[i];
        }
    }
}

static void print_row(struct printer *p, const json_t *item)
{
    struct str rest = str_of(p->columns), column;
    char text[1024], key[64];
    if (p->n_items++ == 0) {
        size_t i = 0;
        for (struct str h = rest; str_split(&h, ',', &column); i++)
            printf("%-*.*s", h.p ? width_of(p, i, column) + 1 : 0, STR_FMT(column));
        printf("\n");
    }
    for (size_t i = 0; str_split(&rest, ',', &column); i++) {
        text_copy(key, sizeof key, column);
        value_text(json_object_get(item, key), text, sizeof text);
        printf("%-*s%s", rest.p ? width_of(p, i, column) : 0, text, rest.p ? " " : "");
    }
    printf("\n");
}

/* "objects 1200  bytes 52311": every field of the object, on one line. */
static void print_fields(FILE *f, const json_t *body)
{
    const char *key;
    json_t *v;
    char text[1024];
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)body, key, v)
    {
        value_text(v, text, sizeof text);
        if (text[0])
            fprintf(f, "%s%s %s", first ? "" : "  ", key, text);
        first = false;
    }
}

static void clear_progress(struct printer *p)
{
    if (p->progress_open)
        fprintf(stderr, "\r\033[K");
    p->progress_open = false;
}

/* One line; what jansson leaves of what a terminal would obey is DEL, which only stands in strings. */
static void print_json(const char *kind, const json_t *body)
{
    auto_free char *text = json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
    printf("{\"%s\":", kind);
    for (const char *p = text ? text : "null"; *p; p++)
        *p == 0x7f ? (void)printf("\\u007F") : (void)putchar(*p);
    printf("}\n");
    (void)fflush(stdout);
}

int printer_line(void *printer, const char *kind, json_t *body, struct err *err)
{
    struct printer *p = printer;
    (void)err;
    if (p->json) {
        print_json(kind, body);
    } else if (strcmp(kind, "progress") == 0) {
        if (p->terminal) {
            fprintf(stderr, "\r\033[K");
            print_fields(stderr, body);
            (void)fflush(stderr);
            p->progress_open = true;
        }
    } else if (strcmp(kind, "item") == 0) {
        clear_progress(p);
        print_row(p, body);
    }
    if (strcmp(kind, "done") == 0) {
        json_decref(p->done);
        p->done = json_incref(body);
    }
    json_decref(body);
    return ferror(stdout) ? ERR_IO : 0;
}

void printer_end(struct printer *p)
{
    clear_progress(p);
    if (!p->json && p->done && p->columns[0] == '=') {
        print_member(p->done, p->columns + 1);
    } else if (!p->json && p->done && json_object_size(p->done) > 0) {
        print_fields(stdout, p->done);
        printf("\n");
    }
    json_decref(p->done);
    p->done = NULL;
}
