/* Rows of the audit log. */
#include "ident/change.h"

int record_tx_change(struct db_tx *tx, const struct change *c, struct err *err)
{
    (void)tx;
    (void)c;
    (void)err;
    return 0;
}
