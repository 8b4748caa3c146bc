/* `kubectl drover snapshot`: makes, lists and deletes snapshots of VMs, and has disks set back. */
#ifndef DROVER_KUBECTL_SNAPSHOT_H
#define DROVER_KUBECTL_SNAPSHOT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

#define SNAPSHOT_WORDS   24
#define SNAPSHOT_OPERAND 3 /* the verb and two names */

/* What was asked for. */
struct snapshot_wish {
        const char *kubeconfig, *context, *ns, *kubectl, *quiesce;
        bool restart;
        const char *operands[SNAPSHOT_OPERAND];
        size_t n;
        const char *now; /* what tells this wish from others */
};

/* A run of kubectl that fulfils it. */
struct snapshot_call {
        const char *argv[SNAPSHOT_WORDS]; /* NULL at the end; points into the wish and texts */
        struct buf input;                 /* for its standard input; empty: none */
        struct buf text;                  /* what argv points into */
};

/* -EINVAL with what is wrong. The caller frees the buffers, also then. */
must_check int snapshot_call(const struct snapshot_wish *w, struct snapshot_call *out,
                             struct err *e);

/* argv[0] is "snapshot". kubectl's exit code, or 2 when it could not be run. */
int snapshot_main(int argc, char **argv);

#endif
