/*
 * The turn of one image: who imports it, and what its status says. Images and VMs share the work
 * queue; an image's key begins with IMAGES_PREFIX, which no namespace's name does.
 */
#ifndef DROVER_MIGRATOR_IMAGES_H
#define DROVER_MIGRATOR_IMAGES_H

#include "migrator/act.h"

#define IMAGES_PREFIX "image:"

/* "namespace/name" of an image's key; NULL of another's. */
const char *images_key(const char *key);

/* 0, or a failure of which e tells; -EAGAIN: what was known is stale, or the Lease is lost. */
must_check int images_work(const struct actor *actor, const char *key, struct err *e);

#endif
