#include "agent/mountinfo.h"

#include "base/buf.h"
#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MOUNTINFO_MAX ((size_t)16 << 20)
#define FIELDS_MAX    32

/* Space, tab, line feed and backslash stand as \040 and so on. */
static void unescape(const char *p, size_t len, char *out, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < len && n + 1 < size; n++) {
                if (p[i] == '\\' && i + 3 < len && p[i + 1] >= '0' && p[i + 1] <= '3') {
                        out[n] = (char)((p[i + 1] - '0') * 64 + (p[i + 2] - '0') * 8 +
                                        (p[i + 3] - '0'));
                        i += 4;
                } else {
                        out[n] = p[i++];
                }
        }
        out[n] = '\0';
}

struct field {
        const char *p;
        size_t len;
};

static size_t split(const char *line, size_t len, struct field f[FIELDS_MAX])
{
        size_t n = 0;

        for (size_t i = 0; i < len && n < FIELDS_MAX;) {
                size_t from = i;
                while (i < len && line[i] != ' ')
                        i++;
                if (i > from)
                        f[n++] = (struct field){line + from, i - from};
                i++;
        }
        return n;
}

static void join(const struct field *mount, const struct field *super, char *out, size_t size)
{
        unescape(mount->p, mount->len, out, size);
        size_t n = strlen(out);
        if (!super || n + 2 > size)
                return;
        out[n++] = ',';
        unescape(super->p, super->len, out + n, size - n);
}

/* "id parent major:minor root point options [tags...] - fstype source superoptions" */
static bool parse(const char *line, size_t len, const char *path, struct mount_entry *out)
{
        struct field f[FIELDS_MAX];
        size_t n = split(line, len, f), dash = 6;
        char point[4096];

        while (dash < n && !(f[dash].len == 1 && *f[dash].p == '-'))
                dash++;
        if (dash + 2 >= n)
                return false;
        unescape(f[4].p, f[4].len, point, sizeof(point));
        if (strcmp(point, path) != 0)
                return false;
        unescape(f[2].p, f[2].len, out->device, sizeof(out->device));
        unescape(f[3].p, f[3].len, out->root, sizeof(out->root));
        unescape(f[dash + 1].p, f[dash + 1].len, out->fstype, sizeof(out->fstype));
        unescape(f[dash + 2].p, f[dash + 2].len, out->source, sizeof(out->source));
        join(&f[5], dash + 3 < n ? &f[dash + 3] : NULL, out->options, sizeof(out->options));
        out->read_only =
                f[5].len >= 2 && !strncmp(f[5].p, "ro", 2) && (f[5].len == 2 || f[5].p[2] == ',');
        return true;
}

bool mountinfo_find(const char *text, const char *path, struct mount_entry *out)
{
        bool found = false;

        while (*text) {
                size_t len = strcspn(text, "\n");
                struct mount_entry m;
                if (parse(text, len, path, &m)) {
                        *out = m;
                        found = true;
                }
                text += len + (text[len] == '\n');
        }
        return found;
}

int mountinfo_read(const char *file, const char *path, struct mount_entry *out, struct err *e)
{
        autobuf struct buf text = buf_new(MOUNTINFO_MAX);
        int rc = file_read(file, &text, e);

        if (rc)
                return rc;
        if (!mountinfo_find(buf_str(&text), path, out))
                return err_set(e, -ENODEV, "nothing is mounted at %s", path);
        return 0;
}
