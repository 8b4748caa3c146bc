#include "agent/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int complain(const char *what, const char *path)
{
        printf("%s %s: %s\n", what, path, strerror(errno));
        return 1;
}

int make_folders(const char *path)
{
        char part[PATH_MAX];

        snprintf(part, sizeof(part), "%s", path);
        for (char *p = part; (p = strchr(p + 1, '/'));) {
                *p = '\0';
                if (mkdir(part, 0755) && errno != EEXIST)
                        return -1;
                *p = '/';
        }
        return mkdir(part, 0755) && errno != EEXIST ? -1 : 0;
}

void sync_folder(const char *folder)
{
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return;
        (void)fsync(fd); /* some file systems refuse it on folders; the name is then their duty */
        close(fd);
}

bool folder_of(const char *file, char folder[PATH_MAX])
{
        snprintf(folder, PATH_MAX, "%s", file);
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder)
                return false;
        *slash = '\0';
        return true;
}

static bool matches(const char *name, const char *begin, const char *end)
{
        size_t n = strlen(name), b = strlen(begin), z = strlen(end);

        return n >= b + z && !memcmp(name, begin, b) && !strcmp(name + n - z, end);
}

int remove_matching(const char *folder, const char *begin, const char *end)
{
        DIR *d = opendir(folder);
        struct dirent *entry;
        int failed = 0;

        if (!d)
                return errno == ENOENT ? 0 : -1;
        while (!failed && (entry = readdir(d)))
                if (entry->d_name[0] != '.' && matches(entry->d_name, begin, end) &&
                    unlinkat(dirfd(d), entry->d_name, 0) && errno != ENOENT)
                        failed = errno;
        closedir(d);
        errno = failed;
        return failed ? -1 : 0;
}

void die_with(pid_t parent)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* it was killed in between */
                _exit(127);
}

int run_program(const char *const argv[])
{
        int status;
        pid_t us = getpid(), pid = fork();

        if (pid < 0)
                return complain("cannot fork for", argv[0]);
        if (!pid) {
                die_with(us);
                execvp(argv[0], (char *const *)(uintptr_t)argv);
                printf("cannot run %s: %s\n", argv[0], strerror(errno));
                fflush(stdout);
                _exit(127);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return complain("cannot wait for", argv[0]);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}
