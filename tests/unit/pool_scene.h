/* Pools of the test's own: folders that are mount points, in a mount namespace nobody else sees. */
#ifndef DROVER_TESTS_POOL_SCENE_H
#define DROVER_TESTS_POOL_SCENE_H

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Before the first thread: from here on mounts are seen by this process and its children alone.
 * False, which is said, when there is no right to it: then nothing of pools can be tested.
 */
static inline bool pools_possible(void)
{
        if ((!unshare(CLONE_NEWNS) || !unshare(CLONE_NEWUSER | CLONE_NEWNS)) &&
            !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
                return true;
        perror("a mount namespace of its own");
        return false;
}

/* The folder becomes a mount of itself. 0 or -1. */
static inline int pool_mount(const char *folder)
{
        return mount(folder, folder, NULL, MS_BIND, NULL);
}

/* Makes the folder by its template, and a mount of it. 0 or -1. */
static inline int pool_make(char *template)
{
        return mkdtemp(template) ? pool_mount(template) : -1;
}

/* Unmounts it and removes it with all that is in it. 0 or -1. */
static inline int pool_remove(const char *folder)
{
        char command[300];

        if (umount2(folder, MNT_DETACH))
                return -1;
        snprintf(command, sizeof(command), "rm -rf '%s'", folder);
        return system(command) ? -1 : 0; /* NOLINT(cert-env33-c) */
}

#endif
