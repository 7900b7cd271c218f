/* Reading arguments: switches of the command, configuration keys, operands. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int add_key(struct cli_args *a, int k, const char *value, struct err *err)
{
    size_t n;
    char text[8192];
    int len = snprintf(text, sizeof text, "--%s=%s", config_keys(&n)[k].name, value);
    if (len < 0 || (size_t)len >= sizeof text || a->n_keys == CLI_ARGS_MAX)
        return err_set(err, ERR_USAGE, "too many or too long arguments");
    a->keys[a->n_keys++] = mem_strdup(text);
    return 0;
}

static int find_flag(const struct cli_command *c, struct str name)
{
    for (int i = 0; i < CLI_FLAGS_MAX && c->flags[i].name; i++)
        if (str_is(name, c->flags[i].name))
            return i;
    return -1;
}

static int unknown(const struct cli_args *a, const char *arg, struct err *err)
{
    return err_set(err, ERR_USAGE, "%s: unknown option %s; `berth %s --help` lists them", a->command->name, arg,
                   a->command->name);
}

/* The command's own flag, or one of the commands that ask the API: 1 when it is one. */
static int own(struct cli_args *a, struct str name, const char *value, const char *next, int *used, struct err *err)
{
    int i = find_flag(a->command, name);
    bool api = asks_api(a->command), host = api && str_is(name, "host"), ca = api && str_is(name, "ca");
    bool takes = host || ca || (i >= 0 && a->command->flags[i].value);
    if (i < 0 && !host && !ca && !(api && str_is(name, "login")))
        return 0;
    if (!takes && value)
        return 0;
    if (takes && !value) {
        if (!next)
            return err_set(err, ERR_USAGE, "--%.*s needs a value", STR_FMT(name));
        value = next;
        *used = 2;
    }
    if (host)
        a->host = value;
    else if (ca)
        a->ca = value;
    else if (i < 0)
        a->login = true;
    else if (a->n_given == CLI_ARGS_MAX)
        return err_set(err, ERR_USAGE, "too many arguments");
    else
        a->given[a->n_given++] = (struct cli_given){i, value};
    return 1;
}

/* One "--name[=value]"; *used: how many arguments it took. */
static int option(struct cli_args *a, char **argv, int left, int *used, struct err *err)
{
    struct str rest = {argv[0] + 2, strlen(argv[0] + 2)}, name;
    str_split(&rest, '=', &name);
    const char *value = rest.p;
    size_t n;
    *used = 1;
    if (!value && str_is(name, "json")) {
        a->json = true;
        return 0;
    }
    if (!value && str_is(name, "help")) {
        a->help = true;
        return 0;
    }
    int rc = own(a, name, value, left > 1 ? argv[1] : NULL, used, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    int k = config_find(name);
    bool config = str_is(name, "config");
    if (!config && (k < 0 || (!a->command->all_keys && k != CONFIG_DATA)))
        return unknown(a, argv[0], err);
    bool is_bool = k >= 0 && config_keys(&n)[k].type == CONFIG_BOOL;
    if (!value && is_bool && (left < 2 || (strcmp(argv[1], "true") != 0 && strcmp(argv[1], "false") != 0)))
        value = "true";
    if (!value) {
        if (left < 2)
            return err_set(err, ERR_USAGE, "%s needs a value", argv[0]);
        value = argv[1];
        *used = 2;
    }
    if (config) {
        a->config_file = value;
        return 0;
    }
    return add_key(a, k, value, err);
}

/* "ORG [USER]": how many there may be, and how many there must be. */
static int count_operands(const struct cli_command *c, int *ret_least)
{
    struct str rest = str_of(c->operands), one;
    int n = 0;
    *ret_least = 0;
    while (rest.n > 0 && str_split(&rest, ' ', &one)) {
        n++;
        *ret_least += one.p[0] != '[';
    }
    BUG_ON(n > CLI_OPERANDS_MAX);
    return n;
}

int args_parse(struct cli_args *ret, const struct cli_command *c, int argc, char **argv, struct err *err)
{
    *ret = (struct cli_args){.command = c};
    bool operands_only = false;
    int least, most = count_operands(c, &least);
    for (int i = 0, used = 1; i < argc; i += used) {
        used = 1;
        int rc = 0;
        if (!operands_only && strcmp(argv[i], "--") == 0)
            operands_only = true;
        else if (!operands_only && strncmp(argv[i], "--", 2) == 0)
            rc = option(ret, argv + i, argc - i, &used, err);
        else if (!operands_only && strcmp(argv[i], "-h") == 0)
            ret->help = true;
        else if (!operands_only && argv[i][0] == '-' && argv[i][1] != '\0')
            rc = unknown(ret, argv[i], err);
        else if (ret->n_operands == most)
            rc = err_set(err, ERR_USAGE, "%s: unexpected argument \"%s\"", c->name, argv[i]);
        else
            ret->operands[ret->n_operands++] = argv[i];
        if (rc < 0)
            return rc;
    }
    if (!ret->help && ret->n_operands < least)
        return err_set(err, ERR_USAGE, "usage: berth %s %s", c->name, c->operands);
    return 0;
}

const char *args_value(const struct cli_args *a, const char *name)
{
    const char *value = NULL;
    int flag = find_flag(a->command, str_of(name));
    for (int i = 0; i < a->n_given; i++)
        if (a->given[i].flag == flag)
            value = a->given[i].value;
    return value;
}

bool args_flag(const struct cli_args *a, const char *name)
{
    int flag = find_flag(a->command, str_of(name));
    BUG_ON(flag < 0);
    for (int i = 0; i < a->n_given; i++)
        if (a->given[i].flag == flag)
            return true;
    return false;
}

void args_release(struct cli_args *a)
{
    for (int i = 0; i < a->n_keys; i++)
        free((void *)(uintptr_t)a->keys[i]);
    a->n_keys = 0;
}
