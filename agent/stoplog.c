#include "agent/stoplog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_MAX ((size_t)64 << 10) /* QEMU may write there too, after libvirtd */
#define STAMP    "dddd-dd-dd dd:dd:dd.ddd+dddd: "
#define CONSOLE  ".console" /* see domxml_console_path: the consoles lie beside the logs */
#define STOPPED  "shutting down, reason="
#define MOVED    STOPPED "migrated"

int stoplog_open(const char *dir, const char *name, struct stoplog *out, struct err *e)
{
        char path[512];
        struct stat s;
        size_t len = strlen(name), end = strlen(CONSOLE);

        if (len >= end && !strcmp(name + len - end, CONSOLE))
                return err_set(e, -EINVAL, "%s.log may be what another guest writes", name);
        if ((size_t)snprintf(path, sizeof(path), "%s/%s.log", dir, name) >= sizeof(path))
                return err_set(e, -ENAMETOOLONG, "log of domain %s", name);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return err_sys(e, -errno, "%s", path);
        if (fstat(fd, &s)) {
                int rc = err_sys(e, -errno, "%s", path);
                close(fd);
                return rc;
        }
        *out = (struct stoplog){fd, s.st_size};
        return 0;
}

void stoplog_close(struct stoplog *l)
{
        if (l->fd >= 0)
                close(l->fd);
        l->fd = -1;
}

/* The text after libvirt's time stamp; NULL when the line is none of libvirt's. */
static const char *after_stamp(const char *line)
{
        const char *p = STAMP;

        for (; *p; p++, line++)
                if (*p == 'd' ? *line < '0' || *line > '9' : *line != *p)
                        return NULL;
        return line;
}

bool stoplog_migrated(const struct stoplog *l)
{
        char text[TAIL_MAX + 1], *next;
        struct stat s;
        bool moved = false;

        if (l->fd < 0 || fstat(l->fd, &s) || s.st_size <= l->from)
                return false;
        off_t from = s.st_size - l->from > (off_t)TAIL_MAX ? s.st_size - (off_t)TAIL_MAX : l->from;
        ssize_t n = pread(l->fd, text, TAIL_MAX, from);
        if (n <= 0)
                return false;
        text[n] = '\0';
        for (char *line = text; (next = memchr(line, '\n', (size_t)(text + n - line)));
             line = next + 1) {
                *next = '\0'; /* whole lines only */
                const char *said = after_stamp(line);
                if (said && !strncmp(said, STOPPED, strlen(STOPPED)))
                        moved = !strcmp(said, MOVED);
        }
        return moved;
}
