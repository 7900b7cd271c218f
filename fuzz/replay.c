/* Runs a fuzzer's whole corpus once: the directories given hold one input a file. */
#include "base/text.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input lies in a block of exactly its size, so that a read behind it is seen. */
static bool replay(const char *dir, const char *name)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        return false;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    auto_free uint8_t *all = mem_alloc(INPUT_MAX);
    size_t n = fread(all, 1, INPUT_MAX, f);
    bool whole = feof(f) && !ferror(f);
    fclose(f);
    auto_free uint8_t *data = mem_alloc(n);
    if (n != 0)
        memcpy(data, all, n);
    printf("%s\n", path); /* the last line names the input that failed */
    (void)fflush(stdout);
    (void)LLVMFuzzerTestOneInput(data, n);
    return whole;
}

int main(int argc, char **argv)
{
    size_t done = 0, broken = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (d == NULL) {
            fprintf(stderr, "no corpus at %s\n", argv[i]);
            return EXIT_FAILURE;
        }
        for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
            if (e->d_name[0] != '.') {
                bool good = replay(argv[i], e->d_name);
                done += good;
                broken += !good;
            }
        closedir(d);
    }
    printf("%zu inputs, %zu not readable\n", done, broken);
    return done > 0 && broken == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
