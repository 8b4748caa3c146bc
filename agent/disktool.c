#include "agent/disktool.h"

#include "agent/files.h"
#include "agent/format.h"
#include "base/hex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNFINISHED ".new"

/* 1 when the file is there, 0 when not, negative on failure, which is said. */
static int there(const char *file)
{
        struct stat s;

        if (!lstat(file, &s))
                return 1;
        return errno == ENOENT || errno == ENOTDIR ? 0 : -complain("cannot look at", file);
}

/*
 * What killed runs have left of the file. A run that is not killed yet, but belongs to an agent
 * that is cut off, finds that it has nothing to give a name to.
 */
static int clear(const char *file, const char *folder)
{
        char begin[PATH_MAX];

        snprintf(begin, sizeof(begin), "%s.", file + strlen(folder) + 1);
        return remove_matching(folder, begin, UNFINISHED) ? complain("cannot clear", folder) : 0;
}

/* Makes the file's folder, and a name for the time being. 1 when the file is there already, 0 when
 * not, negative on failure. */
static int prepare(const char *file, char folder[PATH_MAX], char tmp[PATH_MAX])
{
        char unique[IDENTITY_SIZE];

        if (!folder_of(file, folder)) {
                printf("%s is not an absolute path\n", file);
                return -1;
        }
        if (make_folders(folder, 0))
                return -complain("cannot create", folder);
        if (clear(file, folder))
                return -1;
        hex_random(unique, IDENTITY_BYTES);
        if (snprintf(tmp, PATH_MAX, "%s.%.16s" UNFINISHED, file, unique) >= PATH_MAX) {
                printf("%s is too long a path\n", file);
                return -1;
        }
        return there(file);
}

/*
 * Gives a file its name only when it is whole and on disk. A disk never replaces one that is there
 * (link fails): a late child of an earlier agent must not pull a disk away from under a guest.
 */
static int finish(const char *tmp, const char *file, const char *folder, bool replace)
{
        int fd = open(tmp, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fsync(fd))
                return complain("cannot sync", tmp);
        close(fd);
        if (replace ? rename(tmp, file) : link(tmp, file) && errno != EEXIST)
                return complain("cannot create", file);
        if (!replace)
                unlink(tmp);
        sync_folder(folder);
        return 0;
}

/* Length of the path without its last n parts, 0 when it has not that many. */
static size_t base_len(const char *path, int n)
{
        size_t len = strlen(path);

        for (; n > 0 && len; n--)
                while (len && path[--len] != '/')
                        ;
        return len;
}

/*
 * How a disk names its image: from POOL/disks/UID/DISK to POOL/images/FILE relative to its own
 * folder, so that a pool may be mounted somewhere else one day; an image of another pool by its
 * full path.
 */
static void name_image(const char *file, const char *image, char out[PATH_MAX])
{
        size_t pool = base_len(file, 3);

        if (pool && pool == base_len(image, 2) && !memcmp(file, image, pool))
                snprintf(out, PATH_MAX, "../..%s", image + pool);
        else
                snprintf(out, PATH_MAX, "%s", image);
}

static int make_overlay(const char *file, const char *tmp, const char *size, const char *image,
                        const char *format)
{
        char backing[PATH_MAX];
        const char *argv[12] = {"qemu-img", "create", "-q", "-f", "qcow2"};
        int n = 5;

        if (image) {
                name_image(file, image, backing);
                argv[n++] = "-b";
                argv[n++] = backing;
                argv[n++] = "-F";
                argv[n++] = format;
        }
        argv[n++] = tmp;
        if (strcmp(size, "0") != 0)
                argv[n++] = size;
        return run_program(argv);
}

static int make_copy(const char *tmp, const char *size, const char *image, const char *format)
{
        const char *const copy[] = {"qemu-img", "convert", "-f", format, "-O",
                                    "qcow2",    image,     tmp,  NULL};
        const char *const grow[] = {"qemu-img", "resize", "-q", "-f", "qcow2", tmp, size, NULL};

        return run_program(copy) || (strcmp(size, "0") != 0 && run_program(grow));
}

/* Made from a checked image, NULL: from none. */
static int make_disk(char **argv, const char *image, bool whole)
{
        const char *file = argv[0], *size = argv[1];
        char folder[PATH_MAX], tmp[PATH_MAX];
        struct image_format format = {0};
        struct err e;
        int rc = prepare(file, folder, tmp);

        if (rc)
                return rc < 0;
        if (image && format_check(image, strtoll(argv[3], NULL, 10), false, &format, &e)) {
                printf("%s: %s\n", image, e.msg);
                return 1;
        }
        rc = whole ? make_copy(tmp, size, image, format.name)
                   : make_overlay(file, tmp, size, image, format.name);
        if (!rc)
                rc = finish(tmp, file, folder, false);
        if (rc)
                unlink(tmp);
        return rc;
}

int disk_tool_have(char **argv)
{
        char folder[PATH_MAX];

        if (!folder_of(argv[0], folder) || clear(argv[0], folder))
                return 1;
        int rc = there(argv[0]);
        if (rc >= 0)
                printf("%s\n", rc ? "there" : "absent");
        return rc < 0;
}

int disk_tool_blank(char **argv)
{
        return make_disk(argv, NULL, false);
}

int disk_tool_clone(char **argv)
{
        return make_disk(argv, argv[2], false);
}

int disk_tool_copy(char **argv)
{
        return make_disk(argv, argv[2], true);
}

int disk_tool_seed(char **argv)
{
        const char *file = argv[0];
        char folder[PATH_MAX], tmp[PATH_MAX];

        if (prepare(file, folder, tmp) < 0)
                return 1;
        const char *const line[] = {"genisoimage", "-quiet", "-volid", "cidata", "-joliet",
                                    "-rock",       "-o",     tmp,      argv[1],  NULL};
        return run_program(line) || finish(tmp, file, folder, true);
}

int disk_tool_remove(char **argv)
{
        char path[PATH_MAX];
        DIR *d = opendir(argv[0]);
        struct dirent *entry;

        if (!d)
                return errno == ENOENT ? 0 : complain("cannot open", argv[0]);
        while ((entry = readdir(d))) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                        continue;
                snprintf(path, sizeof(path), "%s/%s", argv[0], entry->d_name);
                if (unlink(path) && errno != ENOENT)
                        return complain("cannot remove", path);
        }
        closedir(d);
        return rmdir(argv[0]) && errno != ENOENT ? complain("cannot remove", argv[0]) : 0;
}

static bool same_file(const char *x, const char *y)
{
        struct stat a, b;
        bool same = !lstat(x, &a) && !lstat(y, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;

        errno = EEXIST;
        return same;
}

/* By link and unlink, since a rename would replace: of two that do it, none loses the file. */
int disk_tool_retain(char **argv)
{
        const char *file = argv[0], *folder = argv[1];
        char kept[PATH_MAX], from[PATH_MAX];

        if (!folder_of(file, from) ||
            snprintf(kept, sizeof(kept), "%s%s", folder, file + strlen(from)) >= PATH_MAX) {
                printf("%s is no file of a folder\n", file);
                return 1;
        }
        int rc = there(file);
        if (rc <= 0)
                return rc < 0;
        if (make_folders(folder, 0))
                return complain("cannot create", folder);
        if (link(file, kept) && (errno != EEXIST || !same_file(file, kept)))
                return complain("cannot keep", file);
        sync_folder(folder);
        if (unlink(file) && errno != ENOENT)
                return complain("cannot remove", file);
        sync_folder(from);
        return 0;
}
