/*
 * What a qcow2 says of its internal snapshots, read from its header and their table (QEMU's
 * docs/interop/qcow2.txt), as others may be writing it: for who looks before qemu-img does
 * anything, which looks again.
 */
#ifndef DROVER_AGENT_QCOW2_H
#define DROVER_AGENT_QCOW2_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

#define QCOW2_SNAPSHOTS_MAX 65536
#define QCOW2_TABLE_MAX     ((size_t)16 << 20)

struct qcow2_look {
        int64_t size;     /* of the disk, in bytes */
        struct buf names; /* of its snapshots, one a line */
};

/*
 * -ENOENT when there is no such file, -EINVAL when it is no qcow2 or the table makes no sense. The
 * caller frees names.
 */
must_check int qcow2_look(const char *path, struct qcow2_look *out, struct err *e);

#endif
