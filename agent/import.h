/*
 * Images whose importer this node is: fetches them into the pool and puts them in their place, or
 * removes them when they are deleted, and tells the progress of it in status.progress, which is all
 * of an image that an agent may write.
 */
#ifndef DROVER_AGENT_IMPORT_H
#define DROVER_AGENT_IMPORT_H

#include "agent/agent.h"
#include "core/image.h"

#define IMPORTS_MAX 2 /* at a time on this node */

/* Makes a->images. */
must_check int imports_start(struct agent *a, struct kube_watch **out, struct err *e);

/* The work image/NS/NAME, and leftover/NS/NAME/UID/EPOCH. */
int64_t image_work(struct agent *a, const char *rest);
int64_t leftover_work(struct agent *a, const char *rest);

#endif
