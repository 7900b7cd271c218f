/* What the command line says: help, errors, tables, progress. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COLUMN_WIDTH = 27 /* of a time */, DIGEST_WIDTH = 71 /* of sha256 */ };

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

void print_help(void)
{
    printf("Berth, a self-hosted container registry.\n\nUsage: berth COMMAND [OPTIONS]\n\nCommands:\n");
    for (size_t i = 0; i < n_cli_commands; i++)
        printf("  %-14s %-9s %s\n", cli_commands[i].name, cli_commands[i].operands, cli_commands[i].summary);
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

void print_command_help(const struct cli_command *c)
{
    printf("Usage: berth %s%s%s [OPTIONS]\n\n%s.\n%s%s", c->name, c->operands[0] ? " " : "", c->operands, c->summary,
           c->help, c->help[0] ? "\n" : "");
    printf("\nOptions:\n");
    for (size_t i = 0; i < ARRAY_LEN(c->flags) && c->flags[i].name; i++)
        printf("  --%-28s %s\n", c->flags[i].name, c->flags[i].help);
    printf("  --%-28s %s\n  --%-28s %s\n  --%-28s %s\n  --%-28s %s\n", "data DIR", "Data directory (default: data)",
           "config FILE", "Configuration file (default: DATA/berth.conf when it is there)", "json",
           "Output for machines: one JSON object a line", "help", "This text");
    if (c->all_keys)
        print_keys();
}

void printer_init(struct printer *p, bool json, const char *columns)
{
    *p = (struct printer){.json = json, .terminal = isatty(STDERR_FILENO) != 0, .columns = columns};
}

static void value_text(const json_t *v, char *out, size_t cap)
{
    if (json_is_string(v))
        snprintf(out, cap, "%s", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(out, cap, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        snprintf(out, cap, "%s", json_is_true(v) ? "yes" : "no");
    else
        out[0] = '\0';
    tame(out);
}

static int width_of(struct str column) { return str_is(column, "digest") ? DIGEST_WIDTH : COLUMN_WIDTH; }

static void print_row(struct printer *p, const json_t *item)
{
    struct str rest = str_of(p->columns), column;
    char text[1024], key[64];
    if (p->n_items++ == 0) {
        for (struct str h = rest; str_split(&h, ',', &column);)
            printf("%-*.*s", h.p ? width_of(column) + 1 : 0, STR_FMT(column));
        printf("\n");
    }
    while (str_split(&rest, ',', &column)) {
        text_copy(key, sizeof key, column);
        value_text(json_object_get(item, key), text, sizeof text);
        printf("%-*s%s", rest.p ? width_of(column) : 0, text, rest.p ? " " : "");
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

int printer_line(void *printer, const char *kind, json_t *body, struct err *err)
{
    struct printer *p = printer;
    (void)err;
    if (p->json) {
        char *text = json_dumps(body, JSON_COMPACT);
        printf("{\"%s\":%s}\n", kind, text ? text : "null");
        free(text);
        (void)fflush(stdout);
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
    if (!p->json && p->done && json_object_size(p->done) > 0) {
        print_fields(stdout, p->done);
        printf("\n");
    }
    json_decref(p->done);
    p->done = NULL;
}
