#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <unistd.h>

static int set_files(posix_spawn_file_actions_t *fa, const int fds[3])
{
        int rc = 0;

        for (int i = 0; i < 3 && !rc; i++)
                rc = fds[i] < 0 ? posix_spawn_file_actions_addopen(fa, i, "/dev/null",
                                                                   i ? O_WRONLY : O_RDONLY, 0)
                                : posix_spawn_file_actions_adddup2(fa, fds[i], i);
        return rc;
}

int spawn(const char *const argv[], const int fds[3], pid_t *pid)
{
        posix_spawn_file_actions_t fa;
        posix_spawnattr_t at;
        sigset_t none, all;

        sigemptyset(&none);
        sigfillset(&all);
        if (posix_spawn_file_actions_init(&fa))
                return -ENOMEM;
        if (posix_spawnattr_init(&at)) {
                posix_spawn_file_actions_destroy(&fa);
                return -ENOMEM;
        }
        int rc = set_files(&fa, fds);
        posix_spawnattr_setsigmask(&at, &none);
        posix_spawnattr_setsigdefault(&at, &all);
        posix_spawnattr_setpgroup(&at, 0);
        posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
        if (!rc)
                rc = posix_spawnp(pid, argv[0], &fa, &at, (char *const *)(uintptr_t)argv, environ);
        posix_spawn_file_actions_destroy(&fa);
        posix_spawnattr_destroy(&at);
        return -rc;
}
