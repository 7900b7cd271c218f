/* Where tests keep their files: in memory where there is some. A sync of the disk would prove nothing there and costs
 * most of a test's time on a slow one. */
#ifndef UNIT_MEMORY_H
#define UNIT_MEMORY_H
#include <unistd.h>

static inline const char *memory_dir(void) { return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; }
#endif
