/*
 * What an image file is, before anything trusts it. It may come from anywhere, and a qcow2 can name
 * other files of the host as its content: such ones are refused by their header, before qemu-img,
 * which would open a data file to describe it, has seen them. qemu-img is then told the format and
 * runs with bounds of memory and time.
 */
#ifndef DROVER_AGENT_FORMAT_H
#define DROVER_AGENT_FORMAT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct image_format {
        const char *name; /* "raw" or "qcow2" */
        int64_t virtual_size;
};

/*
 * 0; -EINVAL when the file is not to be used, with a sentence that says why; another error when
 * that is not known. thorough: the tables of a qcow2 are looked through as well, which reads all of
 * them.
 */
must_check int format_check(const char *path, int64_t max_virtual, bool thorough,
                            struct image_format *out, struct err *e);

/* The file that a qcow2 stands on, "" when none or when it is no qcow2. A negative errno. */
must_check int format_backing(const char *path, char out[1024], struct err *e);

#endif
