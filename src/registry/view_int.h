/* Private: what view.c and view_sql.c share. */
#ifndef REGISTRY_VIEW_INT_H
#define REGISTRY_VIEW_INT_H
#include "registry/registry_int.h"
#include "registry/view.h"

/* Name, times and artifact_type: 1, 0 none. */
int view_tx_tag_row(struct db_tx *tx, struct arena *a, int64_t repo_id, struct str tag, struct tag_view *ret, struct err *err);
#endif
