/* Private: the socket's name and its lines, for both ends. */
#ifndef APP_CONTROL_IO_H
#define APP_CONTROL_IO_H
#include "app/control.h"

#include <sys/socket.h>
#include <sys/un.h>

enum { CONTROL_LINE_MAX = 1 << 20 };
/* The address of DATA/berth.sock; a path too long for one goes through a descriptor of DATA. *ret_dir
 * stays open as long as the address is used. */
int control_address(const char *dir, struct sockaddr_un *ret, int *ret_dir, struct err *err);
/* A line and the descriptor that came with it (-1 none): 1, 0 the end, negative an error. */
int control_read(int sock, struct buf *pending, json_t **ret, int *ret_fd, struct err *err);
/* One object as a line; fd goes along when >= 0. Steals object. */
int control_send(int sock, json_t *object, int fd, struct err *err);
int control_write(int sock, const char *kind, json_t *body, struct err *err); /* {"kind": body}, steals */
const struct control_op *control_find(const char *name);
#endif
