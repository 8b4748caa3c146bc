/*
 * Who imports an image, and what its phase is: a pure function of the image, the nodes, and a VM
 * that names it. One node at a time is the importer, at an epoch of its own; it falls to another
 * when its agent is silent or its pool is not healthy. That two may be at it for a while, one of
 * them cut off, does no harm: see agent/place.h.
 *
 * A deleted image whose file was ever asked for is held by a finalizer until an importer, whose
 * task then is to remove it, has said that the file is gone.
 */
#ifndef DROVER_CORE_IMPORT_H
#define DROVER_CORE_IMPORT_H

#include "base/arena.h"
#include "core/host.h"
#include "core/image.h"

#define IMPORT_AGAIN_MS 5000 /* between looks at an image that is not at rest */

struct import_node {
        const char *name;
        const struct host *host;
        bool alive; /* its agent is not known to be silent */
};

struct import_input {
        const struct image *image;
        const struct import_node *nodes;
        size_t nnodes;
        const char *user; /* a VM that names the image which is being deleted, "": none */
};

enum import_kind {
        IMPORT_REST,
        IMPORT_HOLD, /* adds the finalizer */
        IMPORT_FREE, /* takes it away */
        IMPORT_SET   /* writes next's status */
};

struct import_plan {
        enum import_kind kind;
        struct image next;
        bool settled; /* nothing more to be done until the image itself changes */
};

/* Strings of *out live in a, or in the input. 0, or -ENOMEM. */
int import_plan(struct arena *a, const struct import_input *in, struct import_plan *out);

/* The node of that name; NULL: none. */
const struct import_node *import_node_of(const struct import_node *nodes, size_t n,
                                         const char *name);
/* Its agent speaks, it is Ready, and has the pool, healthy. */
bool import_ready(const struct import_node *n, const char *pool);
/* Likewise, and others may see what lies there. */
bool import_suits(const struct import_node *n, const char *pool);
/* Of both: different objects go to different nodes, and one always to the same. */
uint32_t import_weight(const char *uid, const char *node);

/* A file that it may be cloned from is wanted of nobody any more. */
bool import_settled(const struct image *i);

#endif
