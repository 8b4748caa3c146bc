#include "agent/place.h"

#include "agent/files.h"
#include "agent/format.h"
#include "agent/pool.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int remove_parts(const char *folder, const char *uid, const char *epoch)
{
        char begin[NAME_MAX];

        snprintf(begin, sizeof(begin), "%s.%s%s", uid, epoch, *epoch ? "." : "");
        if (remove_matching(folder, begin, ""))
                return complain("cannot remove what was fetched in", folder);
        sync_folder(folder);
        return 0;
}

int place_tool(char **argv)
{
        const char *folder = IMPORTED, *uid = argv[1], *epoch = argv[2];
        char part[PATH_MAX], image[PATH_MAX];

        snprintf(part, sizeof(part), "%s/%s.%s.part", folder, uid, epoch);
        snprintf(image, sizeof(image), "%s/%s", folder, uid);
        if (link(part, image) && errno != EEXIST && (errno != ENOENT || access(image, F_OK)))
                return complain("cannot create", image);
        sync_folder(folder); /* it is there for good before its parts are not */
        return remove_parts(folder, uid, "");
}

int place_tool_drop(char **argv)
{
        return remove_parts(IMPORTED, argv[1], argv[2]);
}

/* --- removal */

static bool names(const char *backing, const char *uid)
{
        static const char FOLDER[] = "/imported/";
        size_t n = strlen(backing), u = strlen(uid), f = strlen(FOLDER);

        return n >= f + u && !memcmp(backing + n - u - f, FOLDER, f) &&
               !strcmp(backing + n - u, uid);
}

/* 1 when a file of the folder stands on the image, -1 when that cannot be told; both are said. */
static int used_in(const char *folder, const char *uid)
{
        char path[PATH_MAX], backing[1024];
        DIR *d = opendir(folder);
        struct dirent *entry;
        int found = 0;

        if (!d)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -complain("cannot open", folder);
        while (!found && (entry = readdir(d))) {
                struct err e;
                if (entry->d_name[0] == '.')
                        continue;
                int n = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
                int rc = n < PATH_MAX ? format_backing(path, backing, &e)
                                      : err_set(&e, -ENAMETOOLONG, "%s: too long a path", folder);
                if (rc && rc != -ENOENT) {
                        printf("%s\n", e.msg);
                        found = -1;
                } else if (!rc && names(backing, uid)) {
                        printf("the disk %s stands on it\n", path);
                        found = 1;
                }
        }
        closedir(d);
        return found;
}

/* Of the disks, and of those that outlived their VM: KIND/UID/DISK in the pool that was entered. */
static int used_by(const char *all, const char *uid)
{
        char one[PATH_MAX];
        struct dirent *entry;
        int found = 0;
        DIR *d = opendir(all);
        if (!d)
                return errno == ENOENT ? 0 : -complain("cannot open", all);
        while (!found && (entry = readdir(d))) {
                if (entry->d_name[0] == '.')
                        continue;
                if (snprintf(one, sizeof(one), "%s/%s", all, entry->d_name) < PATH_MAX)
                        found = used_in(one, uid);
        }
        closedir(d);
        return found;
}

int place_tool_remove(char **argv)
{
        const char *folder = IMPORTED, *uid = argv[1];
        char pools[PATH_MAX], image[PATH_MAX], *save = NULL;
        int found = 0;
        struct err e = {0};

        snprintf(pools, sizeof(pools), "%s", argv[2]);
        for (char *p = strtok_r(pools, ",", &save); p && !found; p = strtok_r(NULL, ",", &save)) {
                if (enter_pool(p, &e)) /* a bare directory shows no disks, which proves nothing */
                        break;
                found = used_by("disks", uid);
                if (!found)
                        found = used_by("retained", uid);
        }
        if (found)
                return found > 0 ? PLACE_IN_USE : 1;
        if (e.code || enter_pool(argv[0], &e)) {
                printf("%s\n", e.msg);
                return 1;
        }
        /* the parts first: of none that is gone can an image be made any more */
        if (remove_parts(folder, uid, ""))
                return 1;
        snprintf(image, sizeof(image), "%s/%s", folder, uid);
        if (unlink(image) && errno != ENOENT)
                return complain("cannot remove", image);
        sync_folder(folder);
        return 0;
}
