/* /proc/PID/mountinfo (proc(5)): what is mounted at a path, without touching the path. */
#ifndef DROVER_AGENT_MOUNTINFO_H
#define DROVER_AGENT_MOUNTINFO_H

#include "base/err.h"

#include <stdbool.h>

struct mount_entry {
        char device[32]; /* "major:minor" of the superblock */
        char fstype[64];
        char source[256];   /* "server:/export", "/dev/sda1", ... */
        char root[256];     /* the part of the file system that is mounted */
        char options[1024]; /* of the mount, then of the superblock: "rw,nosuid,vers=4.2,..." */
        bool read_only;
};

/*
 * The mount whose mount point is exactly path, the last one when several lie on top of each other;
 * false when there is none. text is the file's contents.
 */
bool mountinfo_find(const char *text, const char *path, struct mount_entry *out);

/* mountinfo_find in a file. -ENODEV when nothing is mounted at path. */
must_check int mountinfo_read(const char *file, const char *path, struct mount_entry *out,
                              struct err *e);

#endif
