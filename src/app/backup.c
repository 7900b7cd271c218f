#include "app/control.h"
int backup_run(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{ (void)a; (void)args; (void)out; return err_set(err, ERR_NOT_IMPLEMENTED, "not yet"); }
int restore_run(struct config *config, int fd, const struct control_out *out, struct err *err)
{ (void)fd; (void)out; config_free(config); return err_set(err, ERR_NOT_IMPLEMENTED, "not yet"); }
