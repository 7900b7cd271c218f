/* Scopes of a token request. The parser is private to its file, so the file is compiled in here. */
#include "../src/ident/mint_api.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token_ask *t = mem_zalloc(sizeof *t);
    asks_parse(t, (struct str){(const char *)data, size});
    BUG_ON(t->n_asked > SCOPES_MAX);
    for (size_t i = 0; i < t->n_asked; i++) {
        char again[LIBRARY_MAX];
        struct str name = str_of(t->asked[i].name);
        BUG_ON((t->asked[i].actions & ~(unsigned)(ACTION_PULL | ACTION_PUSH | ACTION_DELETE)) != 0);
        if (str_is(name, "*") || name.n > NAME_MAX_BYTES)
            continue;
        BUG_ON(canonical_name(name, again, NULL) != 0 || !str_eq(str_of(again), name));
    }
    free(t);
    return 0;
}
