/* From argv to a command. */
#include "cli/cli.h"

#include <stdio.h>

/* Commands of one word, or of two: "user add". *used: how many words. */
static const struct cli_command *find(int argc, char **argv, int *used)
{
    char two[64];
    snprintf(two, sizeof two, "%s %s", argv[1], argc > 2 ? argv[2] : "");
    for (size_t i = 0; i < n_cli_commands; i++) {
        const char *name = cli_commands[i].name;
        *used = strchr(name, ' ') ? 2 : 1;
        if (strcmp(name, *used == 2 ? two : argv[1]) == 0)
            return &cli_commands[i];
    }
    return NULL;
}

static int no_command(int argc, char **argv)
{
    struct str word = str_of(argc > 1 ? argv[1] : "");
    for (size_t i = 0; i < n_cli_commands; i++) {
        const char *name = cli_commands[i].name;
        if (word.n > 0 && strncmp(name, word.p, word.n) == 0 && name[word.n] == ' ')
            fprintf(stderr, "berth %s %s: %s\n", name, cli_commands[i].operands, cli_commands[i].summary);
    }
    fprintf(stderr, "berth: unknown command \"%s\"; `berth help` lists them\n", word.p);
    return CLI_USAGE;
}

/* A full disk behind a redirection is a failure, whatever was said. */
static int flushed(int rc)
{
    bool bad = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !bad)
        return rc;
    return rc == CLI_OK ? print_error("cannot write to standard output") : rc;
}

static int main_of(int argc, char **argv)
{
    struct cli_args args;
    struct err err = {0};
    int used;
    bool help = argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
    if (help && argc > 2 && find(argc - 1, argv + 1, &used) != NULL) {
        print_command_help(find(argc - 1, argv + 1, &used));
        return CLI_OK;
    }
    if (help) {
        print_help();
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return printf("berth %s\n", BERTH_VERSION) < 0 ? CLI_FAILED : CLI_OK;
    const struct cli_command *c = find(argc, argv, &used);
    if (!c)
        return no_command(argc, argv);
    int rc;
    if (args_parse(&args, c, argc - 1 - used, argv + 1 + used, &err) < 0) {
        print_error(err.text);
        rc = CLI_USAGE;
    } else if (args.help) {
        print_command_help(c);
        rc = CLI_OK;
    } else {
        rc = c->run(&args);
    }
    args_release(&args);
    return rc;
}

/* Docker calls its helper by another name. */
int cli_main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    char helper[] = "docker-credential", *all[] = {argv[0], helper, argc > 1 ? argv[1] : NULL, NULL};
    if (argc > 0 && strcmp(slash ? slash + 1 : argv[0], "docker-credential-berth") == 0)
        return flushed(main_of(argc > 1 ? 3 : 2, all));
    return flushed(main_of(argc, argv));
}
