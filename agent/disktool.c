#include "agent/disktool.h"

#include "agent/claimpath.h"
#include "agent/files.h"
#include "agent/format.h"
#include "agent/pool.h"
#include "base/hex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define UNFINISHED    ".new"
#define CLAIM_PERCENT 94 /* of a claim is a disk that nobody gave a size */

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

        if (!inside_pool(file) || !folder_of(file, folder)) {
                printf("%s is no file in a folder of the pool\n", file);
                return -1;
        }
        if (make_folders(folder))
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

/*
 * The image that a disk is made of: in the disk's pool or in another one of this node. file is how
 * it is reached from the disk's pool; backing is how the disk names it, which is relative to the
 * disk's own folder within one pool, so that a pool may be mounted somewhere else one day.
 */
struct image_path {
        char file[PATH_MAX], backing[PATH_MAX];
};

/* 0, or 1, which is said, when it is too long. */
static int join(char out[PATH_MAX], const char *a, const char *b, const char *c)
{
        if (snprintf(out, PATH_MAX, "%s%s%s", a, b, c) < PATH_MAX)
                return 0;
        printf("%s is too long a path\n", c);
        return 1;
}

/* "../" for each folder that the file is in. */
static void way_up(const char *file, char out[PATH_MAX])
{
        size_t n = 0;

        for (const char *p = file; (p = strchr(p, '/')) && n + 4 < PATH_MAX; p++)
                n += (size_t)snprintf(out + n, PATH_MAX - n, "../");
        out[n] = '\0';
}

/* A bare directory in the place of the other pool could hold another image of the name. */
static int find_image(const char *pool, const char *file, const char *image_pool, const char *image,
                      struct image_path *out)
{
        char up[PATH_MAX];
        struct err e;

        if (!inside_pool(image)) {
                printf("%s is no file of a pool\n", image);
                return 1;
        }
        if (!strcmp(pool, image_pool)) {
                way_up(file, up);
                return join(out->file, "", "", image) || join(out->backing, up, "", image);
        }
        if (enter_pool(image_pool, &e) || enter_pool(pool, &e)) {
                printf("%s\n", e.msg);
                return 1;
        }
        return join(out->file, image_pool, "/", image) ||
               join(out->backing, image_pool, "/", image);
}

static int make_overlay(const char *tmp, const char *size, const char *backing, const char *format)
{
        const char *argv[12] = {"qemu-img", "create", "-q", "-f", "qcow2"};
        int n = 5;

        if (backing) {
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

/* POOL FILE SIZE, and for one of a checked image IMAGE_POOL IMAGE MAX; whole: with all of it. */
static int make_disk(char **argv, bool of_image, bool whole)
{
        const char *pool = argv[0], *file = argv[1], *size = argv[2];
        char folder[PATH_MAX], tmp[PATH_MAX];
        struct image_format format = {0};
        struct image_path image = {0};
        struct err e;
        int rc = prepare(file, folder, tmp);

        if (rc)
                return rc < 0;
        if (of_image && find_image(pool, file, argv[3], argv[4], &image))
                return 1;
        if (of_image && format_check(image.file, strtoll(argv[5], NULL, 10), false, &format, &e)) {
                printf("%s: %s\n", image.file, e.msg);
                return 1;
        }
        rc = whole ? make_copy(tmp, size, image.file, format.name)
                   : make_overlay(tmp, size, of_image ? image.backing : NULL, format.name);
        if (!rc)
                rc = finish(tmp, file, folder, false);
        if (rc)
                unlink(tmp);
        return rc;
}

int disk_tool_have(char **argv)
{
        char folder[PATH_MAX];

        if (!folder_of(argv[1], folder) || clear(argv[1], folder))
                return 1;
        int rc = there(argv[1]);
        if (rc >= 0)
                printf("%s\n", rc ? "there" : "absent");
        return rc < 0;
}

int disk_tool_blank(char **argv)
{
        return make_disk(argv, false, false);
}

/* The file appears with all that is in it, or, where another one is, not at all. */
int disk_tool_new(char **argv)
{
        const char *file = argv[1];
        char folder[PATH_MAX], tmp[PATH_MAX];
        int rc = prepare(file, folder, tmp);

        if (rc > 0)
                printf("%s is there already\n", file);
        if (rc)
                return 1;
        rc = make_overlay(tmp, argv[2], NULL, NULL);
        if (!rc && link(tmp, file))
                rc = complain("cannot create", file);
        if (!rc)
                sync_folder(folder);
        unlink(tmp);
        return rc;
}

int disk_tool_folders(char **argv)
{
        DIR *d = opendir(argv[1]);
        struct dirent *entry;

        if (!d)
                return errno == ENOENT ? 0 : complain("cannot open", argv[1]);
        while ((entry = readdir(d)))
                if (entry->d_name[0] != '.')
                        printf("%s\n", entry->d_name);
        closedir(d);
        return 0;
}

/* As much as the claim has room for, but for what its file system needs for itself. */
static int64_t claim_room(int64_t capacity)
{
        const int64_t mib = (int64_t)1 << 20;
        struct statvfs s;

        if (statvfs(".", &s))
                return -1;
        int64_t free = (int64_t)s.f_bavail * (int64_t)s.f_frsize;
        int64_t most = capacity && capacity < free ? capacity : free;
        return most / 100 * CLAIM_PERCENT / mib * mib;
}

static int make_raw(const char *file, const char *folder, const char *tmp, int64_t size)
{
        autoclose int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0 || ftruncate(fd, size))
                return complain("cannot create", tmp);
        return finish(tmp, file, folder, false);
}

/* Whoever else may write to the claim could have put a link there, to any file of the node. */
static int check_claim(const char *file)
{
        struct stat s;

        if (lstat(file, &s))
                return complain("cannot look at", file);
        if (S_ISREG(s.st_mode))
                return 0;
        printf("%s in the claim is no regular file\n", file + 2);
        return 1;
}

int disk_tool_claim(char **argv)
{
        const char *file = "./" CLAIM_FILE;
        int64_t size = strtoll(argv[1], NULL, 10), capacity = strtoll(argv[2], NULL, 10);
        char folder[PATH_MAX], tmp[PATH_MAX];
        int rc = prepare(file, folder, tmp);

        if (rc)
                return rc < 0 || check_claim(file);
        if (capacity && size > capacity) {
                printf("a disk of %" PRId64 " bytes is larger than the claim, of %" PRId64 "\n",
                       size, capacity);
                return 1;
        }
        if (!size)
                size = claim_room(capacity);
        if (size <= 0) {
                printf("the claim has no room for a disk\n");
                return 1;
        }
        rc = make_raw(file, folder, tmp, size);
        if (rc)
                unlink(tmp);
        return rc || check_claim(file);
}

int disk_tool_clone(char **argv)
{
        return make_disk(argv, true, false);
}

int disk_tool_copy(char **argv)
{
        return make_disk(argv, true, true);
}

int disk_tool_seed(char **argv)
{
        const char *file = argv[1];
        char folder[PATH_MAX], tmp[PATH_MAX];

        if (prepare(file, folder, tmp) < 0)
                return 1;
        const char *const line[] = {"genisoimage", "-quiet", "-volid", "cidata", "-joliet",
                                    "-rock",       "-o",     tmp,      argv[2],  NULL};
        return run_program(line) || finish(tmp, file, folder, true);
}

int disk_tool_remove(char **argv)
{
        const char *folder = argv[1];
        char path[PATH_MAX];
        DIR *d = opendir(folder);
        struct dirent *entry;

        if (!d)
                return errno == ENOENT ? 0 : complain("cannot open", folder);
        while ((entry = readdir(d))) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                        continue;
                snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
                if (unlink(path) && errno != ENOENT)
                        return complain("cannot remove", path);
        }
        closedir(d);
        return rmdir(folder) && errno != ENOENT ? complain("cannot remove", folder) : 0;
}

/* A folder of the file system that the pool's root is in, by no link. */
static bool is_own(const char *folder, dev_t pool)
{
        struct stat s;

        return !lstat(folder, &s) && S_ISDIR(s.st_mode) && s.st_dev == pool;
}

/* That the pool is another directory than one elsewhere says nothing of what is mounted in it. */
int disk_tool_sweep(char **argv)
{
        const char *folder = argv[1];
        char above[PATH_MAX];
        struct stat pool;

        if (stat(".", &pool) || !folder_of(folder, above))
                return complain("cannot look at", folder);
        if (!there(folder))
                return 0;
        if (!is_own(".drover", pool.st_dev) || !is_own(above, pool.st_dev) ||
            !is_own(folder, pool.st_dev)) {
                printf("%s is not in the pool's own file system: it is left where it is\n", folder);
                return 1;
        }
        return disk_tool_remove(argv);
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
        const char *file = argv[1], *folder = argv[2];
        char kept[PATH_MAX], from[PATH_MAX];

        if (!folder_of(file, from) ||
            snprintf(kept, sizeof(kept), "%s%s", folder, file + strlen(from)) >= PATH_MAX) {
                printf("%s is no file of a folder\n", file);
                return 1;
        }
        int rc = there(file);
        if (rc <= 0)
                return rc < 0;
        if (make_folders(folder))
                return complain("cannot create", folder);
        if (link(file, kept) && (errno != EEXIST || !same_file(file, kept)))
                return complain("cannot keep", file);
        sync_folder(folder);
        if (unlink(file) && errno != ENOENT)
                return complain("cannot remove", file);
        sync_folder(from);
        return 0;
}
