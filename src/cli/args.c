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

static bool own_flag(struct cli_args *a, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(a->command->flags); i++)
        if (a->command->flags[i].name && str_is(name, a->command->flags[i].name)) {
            a->flags |= 1u << i;
            return true;
        }
    return false;
}

static int unknown(const struct cli_args *a, const char *arg, struct err *err)
{
    return err_set(err, ERR_USAGE, "%s: unknown option %s; `berth %s --help` lists them", a->command->name, arg,
                   a->command->name);
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
    if (!value && own_flag(a, name))
        return 0;
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

int args_parse(struct cli_args *ret, const struct cli_command *c, int argc, char **argv, struct err *err)
{
    *ret = (struct cli_args){.command = c};
    bool operands_only = false;
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
        else if (ret->n_operands == c->n_operands)
            rc = err_set(err, ERR_USAGE, "%s: unexpected argument \"%s\"", c->name, argv[i]);
        else
            ret->operands[ret->n_operands++] = argv[i];
        if (rc < 0)
            return rc;
    }
    if (!ret->help && ret->n_operands < c->n_operands)
        return err_set(err, ERR_USAGE, "usage: berth %s %s", c->name, c->operands);
    return 0;
}

void args_release(struct cli_args *a)
{
    for (int i = 0; i < a->n_keys; i++)
        free((void *)(uintptr_t)a->keys[i]);
    a->n_keys = 0;
}
