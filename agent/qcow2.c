#include "agent/qcow2.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC      0x514649fbU
#define HEADER     72   /* of version 2, which that of version 3 begins with */
#define ENTRY      40   /* the part of fixed length of a snapshot's */
#define ENTRY_MAX  2048 /* more than QEMU makes of one */
#define NAMES_MAX  ((size_t)8 << 20)
#define AT_SIZE    24
#define AT_COUNT   60
#define AT_TABLE   64
#define IN_ID_SIZE 12
#define IN_NAME    14
#define IN_EXTRA   36

static uint64_t be(const unsigned char *p, int bytes)
{
        uint64_t v = 0;

        for (int i = 0; i < bytes; i++)
                v = v << 8 | p[i];
        return v;
}

/* The entry at p, of which n bytes are there: its length, 0 when it is cut short. */
static size_t take_entry(const unsigned char *p, size_t n, struct buf *names)
{
        if (n < ENTRY)
                return 0;
        size_t id = (size_t)be(p + IN_ID_SIZE, 2), name = (size_t)be(p + IN_NAME, 2);
        size_t at = ENTRY + (size_t)be(p + IN_EXTRA, 4) + id;
        if (at + name > n)
                return 0;
        if (!memchr(p + at, '\n', name)) {
                buf_add(names, (const char *)p + at, name);
                buf_adds(names, "\n");
        }
        return (at + name + 7) & ~(size_t)7;
}

static int read_table(int fd, uint64_t offset, uint64_t count, struct buf *names, struct err *e)
{
        size_t most = (size_t)count * ENTRY_MAX, at = 0;

        if (most > QCOW2_TABLE_MAX)
                most = QCOW2_TABLE_MAX;
        autofree unsigned char *table = malloc(most);
        if (!table)
                return err_set(e, -ENOMEM, "out of memory");
        ssize_t got = pread(fd, table, most, (off_t)offset);
        if (got < 0)
                return err_sys(e, -errno, "cannot read the table of snapshots");
        for (uint64_t i = 0; i < count; i++) {
                size_t len = take_entry(table + at, (size_t)got - at, names);

                if (!len)
                        return err_set(e, -EINVAL, "its table of snapshots is cut short");
                at += len < (size_t)got - at ? len : (size_t)got - at;
        }
        return names->failed ? err_set(e, names->error, "too many names of snapshots") : 0;
}

static int look(int fd, struct qcow2_look *out, struct err *e)
{
        unsigned char h[HEADER];

        if (pread(fd, h, HEADER, 0) != HEADER || be(h, 4) != MAGIC)
                return err_set(e, -EINVAL, "it is no qcow2");
        out->size = (int64_t)be(h + AT_SIZE, 8);
        if (be(h + AT_COUNT, 4) > QCOW2_SNAPSHOTS_MAX || be(h + AT_TABLE, 8) > INT64_MAX)
                return err_set(e, -EINVAL, "its table of snapshots makes no sense");
        if (!be(h + AT_COUNT, 4))
                return 0;
        return read_table(fd, be(h + AT_TABLE, 8), be(h + AT_COUNT, 4), &out->names, e);
}

int qcow2_look(const char *path, struct qcow2_look *out, struct err *e)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0)
                return err_sys(e, -errno, "cannot open %s", path);
        *out = (struct qcow2_look){.names = buf_new(NAMES_MAX)};
        int rc = look(fd, out, e);
        close(fd);
        if (rc) {
                buf_free(&out->names);
                err_wrap(e, "%s", path);
        }
        return rc;
}
