/* Completions, made from the tables, so that they never lag behind. */
#include "cli/cli.h"

#include <stdio.h>

/* Every option a command takes, each with what stands before and after it. */
static void options(const struct cli_command *c, const char *before, const char *after)
{
    size_t n;
    const struct config_key *k = config_keys(&n);
    for (size_t i = 0; i < ARRAY_LEN(c->flags) && c->flags[i].name; i++)
        printf("%s--%s%s", before, c->flags[i].name, after);
    printf("%s--data%s%s--config%s%s--json%s%s--help%s", before, after, before, after, before, after, before, after);
    for (size_t i = 0; c->all_keys && i < n; i++)
        if (k[i].type != CONFIG_SECRET && i != CONFIG_DATA)
            printf("%s--%s%s", before, k[i].name, after);
}

static void bash(void)
{
    printf("_berth() {\n  local cur=${COMP_WORDS[COMP_CWORD]} cmd=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" words=\n"
           "  case $cmd in\n");
    for (size_t i = 0; i < n_cli_commands; i++) {
        printf("    \"%s\"*) words='", cli_commands[i].name);
        options(&cli_commands[i], "", " ");
        printf("' ;;\n");
    }
    printf("  esac\n  if [ \"$COMP_CWORD\" -eq 1 ]; then words='help");
    for (size_t i = 0; i < n_cli_commands; i++)
        if (!strchr(cli_commands[i].name, ' '))
            printf(" %s", cli_commands[i].name);
    printf(" user repo'\n  elif [ \"$COMP_CWORD\" -eq 2 ] && [ \"${COMP_WORDS[1]}\" = user ]; then words='add passwd remove list'\n"
           "  elif [ \"$COMP_CWORD\" -eq 2 ] && [ \"${COMP_WORDS[1]}\" = repo ]; then words='public private'\n  fi\n"
           "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$cur\"))\n}\ncomplete -F _berth berth\n");
}

static void fish(void)
{
    printf("complete -c berth -f\n");
    for (size_t i = 0; i < n_cli_commands; i++) {
        struct str rest = str_of(cli_commands[i].name), first;
        str_split(&rest, ' ', &first);
        if (rest.p)
            printf("complete -c berth -n '__fish_seen_subcommand_from %.*s' -a '%s' -d '%s'\n", STR_FMT(first), rest.p,
                   cli_commands[i].summary);
        else
            printf("complete -c berth -n __fish_use_subcommand -a '%.*s' -d '%s'\n", STR_FMT(first), cli_commands[i].summary);
    }
    printf("complete -c berth -n __fish_use_subcommand -a 'user repo'\ncomplete -c berth -l json -l help\n"
           "complete -c berth -l data -r -F\ncomplete -c berth -l config -r -F\n");
}

int completion_print(const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        bash();
    } else if (strcmp(shell, "zsh") == 0) {
        printf("#compdef berth\nautoload -U +X bashcompinit && bashcompinit\n");
        bash();
    } else if (strcmp(shell, "fish") == 0) {
        fish();
    } else {
        print_error("completion: one of bash, zsh, fish");
        return CLI_USAGE;
    }
    return CLI_OK;
}
