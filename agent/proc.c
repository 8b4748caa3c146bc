#include "agent/proc.h"

#include "base/buf.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define FLAG_EXITING 0x4U /* PF_EXITING of the kernel */

/* Whole small file into a terminated string: its length, or a negative errno value. */
static ssize_t slurp(const char *path, char *text, size_t size)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t len = 0;
        ssize_t n = 0;

        if (fd < 0)
                return -errno;
        while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
                len += (size_t)n;
        int rc = n < 0 ? -errno : 0;
        close(fd);
        text[len] = '\0';
        return rc ? rc : (ssize_t)len;
}

static bool gone(ssize_t rc)
{
        return rc == -ENOENT || rc == -ESRCH;
}

/* 1: the thread is past all user code; 0: not, or not known. */
static bool thread_exiting(pid_t pid, const char *tid)
{
        char path[64], text[1024], state;
        unsigned flags;

        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", pid, tid);
        ssize_t n = slurp(path, text, sizeof(text));
        if (n < 0)
                return gone(n);
        /* pid (comm) state ppid pgrp session tty tpgid flags; comm may hold anything, ')' included
         */
        const char *after = strrchr(text, ')');
        if (!after || sscanf(after + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
                return false;
        return state == 'Z' || state == 'X' || (flags & FLAG_EXITING);
}

bool proc_exiting(pid_t pid)
{
        char path[32], leader[16];
        bool all = true;

        /* An end of the whole process flags all threads at once: mostly one look tells. */
        snprintf(leader, sizeof(leader), "%d", pid);
        if (!thread_exiting(pid, leader))
                return false;
        snprintf(path, sizeof(path), "/proc/%d/task", pid);
        DIR *d = opendir(path);
        if (!d)
                return gone(-errno);
        for (;;) {
                errno = 0;
                struct dirent *entry = readdir(d);
                if (!entry) {
                        all = errno == 0 || gone(-errno);
                        break;
                }
                if (entry->d_name[0] != '.' && !thread_exiting(pid, entry->d_name)) {
                        all = false;
                        break;
                }
        }
        closedir(d);
        return all;
}

bool guest_process_dead(const struct guest_process *g, int ms)
{
        struct pollfd p = {.fd = g->pidfd, .events = POLLIN};

        if (g->pidfd < 0)
                return false;
        if (poll(&p, 1, ms) == 1 && (p.revents & POLLIN))
                return true;
        /* Twice: a thread could start another one behind the back of the first walk and then exit.
         */
        return proc_exiting(g->pid) && proc_exiting(g->pid); /* NOLINT(misc-redundant-expression) */
}

/* 1: the command line has -uuid UUID; 0: not; negative: cannot be read. */
static int is_guest(pid_t pid, const char *uuid)
{
        char path[32];
        autobuf struct buf line = buf_new((size_t)4 << 20);
        struct err e;

        snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
        int rc = file_read(path, &line, &e);
        if (rc)
                return rc;
        for (size_t at = 0; at < line.len; at += strlen(line.data + at) + 1) {
                const char *arg = line.data + at;
                const char *next = arg + strlen(arg) + 1;
                if (!strcmp(arg, "-uuid") && next < line.data + line.len)
                        return !strcasecmp(next, uuid);
        }
        return 0;
}

pid_t proc_find_guest(const char *uuid)
{
        DIR *d = opendir("/proc");
        pid_t found = d ? 0 : -1;
        struct dirent *entry;

        while (d && (errno = 0, entry = readdir(d))) {
                char *end;
                long pid = strtol(entry->d_name, &end, 10);
                if (*end || pid <= 0)
                        continue;
                int rc = is_guest((pid_t)pid, uuid);
                if (rc > 0) {
                        found = (pid_t)pid;
                        break;
                }
                if (rc < 0 && !gone(rc))
                        found = -1;
        }
        if (d) {
                if (!found && errno)
                        found = -1;
                closedir(d);
        }
        return found;
}

pid_t proc_socket_owner(const char *run)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        struct ucred cred = {0};
        socklen_t len = sizeof(cred);
        autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 ||
            (size_t)snprintf(a.sun_path, sizeof(a.sun_path), "%s/libvirt-sock", run) >=
                    sizeof(a.sun_path) ||
            connect(fd, (struct sockaddr *)&a, sizeof(a)) ||
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
                return 0;
        return cred.pid;
}

static pid_t from_pid_file(const char *run, const char *name)
{
        char path[512], text[32];

        snprintf(path, sizeof(path), "%s/qemu/%s.pid", run, name);
        return slurp(path, text, sizeof(text)) > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

int guest_process_open(const char *run, const char *name, const char *uuid,
                       struct guest_process *out, struct err *e)
{
        pid_t pid = from_pid_file(run, name);

        if (pid <= 0 || is_guest(pid, uuid) <= 0)
                pid = proc_find_guest(uuid);
        if (pid <= 0)
                return err_set(e, -ENOENT, "no QEMU process with uuid %s on this node", uuid);
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (fd < 0)
                return err_sys(e, -errno, "pidfd of process %d", pid);
        if (is_guest(pid, uuid) <= 0) {
                close(fd);
                return err_set(e, -ENOENT, "process %d is no longer the guest %s", pid, uuid);
        }
        *out = (struct guest_process){pid, fd};
        return 0;
}

int guest_process_kill(const struct guest_process *g, int ms, struct err *e)
{
        if (syscall(SYS_pidfd_send_signal, g->pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
                return err_sys(e, -errno, "kill guest process %ld", (long)g->pid);
        if (!guest_process_dead(g, ms))
                return err_set(e, -ETIMEDOUT, "guest process %ld does not end", (long)g->pid);
        return 0;
}

void guest_process_close(struct guest_process *g)
{
        if (g->pidfd >= 0)
                close(g->pidfd);
        g->pidfd = -1;
}
