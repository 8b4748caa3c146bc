#include "agent/snaptool.h"

#include "agent/files.h"
#include "agent/pool.h"
#include "agent/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MARK     "restored"
#define MARK_MAX 64
#define ROUNDS   1000 /* of snapshots removed from one disk: each is named by a worker's epoch */

/* 0 when the file is there, 1 when not, negative on failure, which is said. */
static int look(const char *file, struct qcow2_look *out)
{
        struct err e;
        int rc = inside_pool(file) ? qcow2_look(file, out, &e)
                                   : err_set(&e, -EINVAL, "%s is no file of a pool", file);

        if (rc == -ENOENT)
                return 1;
        if (rc)
                printf("%s\n", e.msg);
        return rc;
}

/* The first whose name begins so, and all of whose name it is when whole. False when none. */
static bool find(const struct qcow2_look *l, const char *wanted, bool whole, char out[256])
{
        size_t n = strlen(wanted);

        for (const char *s = buf_str(&l->names), *end; (end = strchr(s, '\n')); s = end + 1)
                if (!strncmp(s, wanted, n) && (!whole || s + n == end) && end - s < 256) {
                        snprintf(out, 256, "%.*s", (int)(end - s), s);
                        return true;
                }
        return false;
}

/* As qemu-img is to open it: nothing is guessed, and no file's name is taken for an option. */
static bool spell(const char *file, char out[PATH_MAX])
{
        if (!strchr(file, ',') &&
            snprintf(out, PATH_MAX, "driver=qcow2,file.driver=file,file.filename=%s", file) <
                    PATH_MAX)
                return true;
        printf("%s is no name of a disk\n", file);
        return false;
}

static int snapshot(const char *file, const char *what, const char *tag)
{
        char image[PATH_MAX];
        const char *const argv[] = {"qemu-img", "snapshot", "-q",  "--image-opts",
                                    what,       tag,        image, NULL};

        return !spell(file, image) || run_program(argv);
}

/* As many as there are; each is looked for anew. */
static int drop_all(const char *file, const char *prefix)
{
        char name[256];

        for (int i = 0; i < ROUNDS; i++) {
                struct qcow2_look l;
                int rc = look(file, &l);
                if (rc)
                        return rc < 0;
                bool any = find(&l, prefix, false, name);
                buf_free(&l.names);
                if (!any)
                        return 0;
                if (snapshot(file, "-d", name))
                        return 1;
        }
        printf("%s has too many snapshots\n", file);
        return 1;
}

int snap_tool_drop(char **argv)
{
        return drop_all(argv[1], argv[2]);
}

int snap_tool_take(char **argv)
{
        const char *file = argv[1], *tag = argv[2], *prefix = argv[3];
        struct qcow2_look l;
        int rc = look(file, &l);

        if (rc > 0)
                printf("%s is not there\n", file);
        if (rc)
                return 1;
        buf_free(&l.names);
        if (drop_all(file, prefix) || snapshot(file, "-c", tag))
                return 1;
        printf("%" PRId64 "\n", l.size);
        return 0;
}

enum presence { ABSENT, THERE, NO_FILE };

/* Negative on failure, which is said. */
static int has(const char *file, const char *tag)
{
        struct qcow2_look l;
        char name[256];
        int rc = look(file, &l);

        if (rc)
                return rc < 0 ? rc : NO_FILE;
        rc = find(&l, tag, true, name) ? THERE : ABSENT;
        buf_free(&l.names);
        return rc;
}

int snap_tool_has(char **argv)
{
        static const char *const SAID[] = {"absent", "there", "no file"};
        int rc = has(argv[1], argv[2]);

        if (rc >= 0)
                printf("%s\n", SAID[rc]);
        return rc < 0;
}

int snap_tool_apply(char **argv)
{
        const char *file = argv[1], *tag = argv[2];
        const char *const check[] = {"qemu-img", "check", "-q", "-f", "qcow2",
                                     "-r",       "leaks", file, NULL};
        int rc = has(file, tag);

        if (rc >= 0 && rc != THERE)
                printf("%s has no snapshot %s\n", file, tag);
        return rc != THERE || snapshot(file, "-a", tag) || run_program(check);
}

/* --- what was carried out */

static bool mark_file(const char *folder, const char *end, char out[PATH_MAX])
{
        if (inside_pool(folder) && snprintf(out, PATH_MAX, "%s/" MARK "%s", folder, end) < PATH_MAX)
                return true;
        printf("%s is no folder of the pool\n", folder);
        return false;
}

int snap_tool_marked(char **argv)
{
        char file[PATH_MAX], text[MARK_MAX + 1] = "";

        if (!mark_file(argv[1], "", file))
                return 1;
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT)
                return complain("cannot open", file);
        ssize_t n = fd < 0 ? 0 : read(fd, text, MARK_MAX);
        if (n < 0)
                return complain("cannot read", file);
        if (fd >= 0)
                close(fd);
        printf("%s\n", n ? text : "-");
        return 0;
}

int snap_tool_mark(char **argv)
{
        const char *folder = argv[1], *mark = argv[2];
        char file[PATH_MAX], tmp[PATH_MAX];

        if (!mark_file(folder, "", file) || !mark_file(folder, ".new", tmp))
                return 1;
        int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, mark, strlen(mark)) != (ssize_t)strlen(mark) || fsync(fd))
                return complain("cannot write", tmp);
        close(fd);
        if (rename(tmp, file))
                return complain("cannot name", tmp);
        sync_folder(folder);
        return 0;
}
