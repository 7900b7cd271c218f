/* Private: what is said of the kinds of content, and the order of repositories. */
#ifndef HUB_REPO_H
#define HUB_REPO_H
#include "hub/hub_int.h"

/* "image", "helm", ...: Hub's word for a manifest of these types. */
const char *hub_content_type(struct str media_type, struct str artifact_type);
int hub_tx_updated(struct db_tx *tx, struct str name, int64_t *ret, struct err *err); /* 1, 0 */
#endif
