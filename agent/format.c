#include "agent/format.h"

#include "agent/files.h"
#include "base/json.h"
#include "base/mono.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define QCOW2_MAGIC      "QFI\xfb"
#define QCOW2_HEADER_MIN 72
#define SECTOR           512
#define HEADER_SIZE      SECTOR
#define OUTPUT_MAX       ((size_t)64 << 10)
#define MEMORY_MAX       ((rlim_t)1 << 30)
#define CPU_S            60
#define DEADLINE_MS      120000

/* incompatible_features of a version 3 header */
#define QCOW2_CORRUPT   (1 << 1)
#define QCOW2_DATA_FILE (1 << 2)

/* Kinds of files that people take for disk images, and that QEMU would find out by itself. */
static const struct {
        size_t at;
        const char *magic;
        size_t len;
        const char *name;
} OTHERS[] = {
        {0, "KDMV", 4, "a VMDK"},
        {0, "COWD", 4, "a VMDK"},
        {0, "# Disk DescriptorFile", 21, "a VMDK"},
        {64, "\x7f\x10\xda\xbe", 4, "a VDI"},
        {0, "vhdxfile", 8, "a VHDX"},
        {0, "conectix", 8, "a VHD"},
        {0, "QED", 4, "a QED"},
        {0, "WithoutFreeSpace", 16, "a Parallels disk"},
        {0, "WithouFreSpacExt", 16, "a Parallels disk"},
        {0, "LUKS\xba\xbe", 6, "encrypted (LUKS)"},
        {0, "\x1f\x8b", 2, "compressed (gzip)"},
        {0,
         "\xfd"
         "7zXZ",
         5, "compressed (xz)"},
        {0, "\x28\xb5\x2f\xfd", 4, "compressed (zstd)"},
        {0, "BZh", 3, "compressed (bzip2)"},
        {0, "PK\x03\x04", 4, "a ZIP archive"},
        {0, "7z\xbc\xaf\x27\x1c", 6, "a 7z archive"},
};

static uint64_t be(const unsigned char *p, int bytes)
{
        uint64_t v = 0;

        for (int i = 0; i < bytes; i++)
                v = v << 8 | p[i];
        return v;
}

struct header {
        unsigned char b[HEADER_SIZE];
        size_t len;
        int64_t size; /* of the file */
        bool qcow2;
};

/* The file stays open for more of it: *fd. */
static int read_header(const char *path, struct header *h, int *fd, struct err *e)
{
        struct stat s;

        *h = (struct header){.len = 0};
        *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe holds nobody up */
        if (*fd < 0)
                return err_sys(e, -errno, "cannot read %s", path);
        ssize_t n = fstat(*fd, &s) ? -1 : S_ISREG(s.st_mode) ? pread(*fd, h->b, HEADER_SIZE, 0) : 0;
        if (n < 0) {
                int rc = err_sys(e, -errno, "cannot read %s", path);
                close(*fd);
                return rc;
        }
        h->len = (size_t)n;
        h->size = S_ISREG(s.st_mode) ? s.st_size : 0;
        h->qcow2 = n >= 4 && !memcmp(h->b, QCOW2_MAGIC, 4);
        return 0;
}

static int check_qcow2(const struct header *h, int64_t max_virtual, struct err *e)
{
        const unsigned char *b = h->b;
        uint64_t version = h->len < QCOW2_HEADER_MIN ? 0 : be(b + 4, 4);

        if (version != 2 && (version != 3 || h->len < 104))
                return err_set(e, -EINVAL,
                               "the image is a QCOW of version %" PRIu64
                               ", or is cut short; 2 and 3 are accepted",
                               version);
        if (be(b + 8, 8) || be(b + 16, 4))
                return err_set(e, -EINVAL,
                               "the image names a backing file, which may be any file "
                               "of the host");
        if (be(b + 32, 4))
                return err_set(e, -EINVAL, "the image is encrypted");
        if (version == 3 && be(b + 72, 8) & QCOW2_DATA_FILE)
                return err_set(e, -EINVAL,
                               "the image keeps its data in another file, which may "
                               "be any file of the host");
        if (version == 3 && be(b + 72, 8) & QCOW2_CORRUPT)
                return err_set(e, -EINVAL, "the image is marked as corrupt");
        if (be(b + 24, 8) > (uint64_t)max_virtual)
                return err_set(e, -EINVAL,
                               "the image is of a disk of %" PRIu64 " bytes, more than %" PRId64,
                               be(b + 24, 8), max_virtual);
        return 0;
}

static int check_raw(const struct header *h, int64_t max_virtual, struct err *e)
{
        for (size_t i = 0; i < countof(OTHERS); i++)
                if (OTHERS[i].at + OTHERS[i].len <= h->len &&
                    !memcmp(h->b + OTHERS[i].at, OTHERS[i].magic, OTHERS[i].len))
                        return err_set(e, -EINVAL, "the image is %s; raw and qcow2 are accepted",
                                       OTHERS[i].name);
        if (!h->size || h->size % SECTOR)
                return err_set(e, -EINVAL,
                               "a file of %" PRId64 " bytes is no disk image: it has no whole "
                               "sectors of %d bytes, and is no qcow2",
                               h->size, SECTOR);
        if (h->size > max_virtual)
                return err_set(e, -EINVAL,
                               "the image is of a disk of %" PRId64 " bytes, more than %" PRId64,
                               h->size, max_virtual);
        return 0;
}

/* --- qemu-img, bounded */

static void limit(__rlimit_resource_t what, rlim_t n)
{
        setrlimit(what, &(struct rlimit){n, n});
}

static void exec_limited(const char *const argv[], int out, pid_t parent)
{
        die_with(parent);
        limit(RLIMIT_AS, MEMORY_MAX);
        limit(RLIMIT_CPU, CPU_S);
        limit(RLIMIT_FSIZE, 0);
        limit(RLIMIT_CORE, 0);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
}

/* All that it writes, until it closes the pipe, the bound, or the deadline. */
static bool collect(int fd, struct buf *text)
{
        struct mono end = mono_add_ms(mono_now(), DEADLINE_MS);
        char chunk[4096];

        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                int64_t rest = mono_ms_between(mono_now(), end);
                if (rest <= 0 || (poll(&p, 1, (int)rest) < 0 && errno != EINTR))
                        return false;
                ssize_t n = p.revents ? read(fd, chunk, sizeof(chunk)) : -1;
                if (!n)
                        return true;
                if (n > 0 && buf_add(text, chunk, (size_t)n))
                        return false;
        }
}

/* The exit code, or a negative errno when it came to no end of its own. */
static int run_limited(const char *const argv[], struct buf *text, struct err *e)
{
        int p[2], status = 0;

        if (pipe2(p, O_CLOEXEC))
                return err_sys(e, -errno, "pipe");
        pid_t us = getpid(), pid = fork();
        if (!pid)
                exec_limited(argv, p[1], us);
        close(p[1]);
        bool ended = pid > 0 && collect(p[0], text);
        close(p[0]);
        if (pid < 0)
                return err_sys(e, -EAGAIN, "fork");
        if (!ended)
                kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (!ended || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
                return err_set(e, -EIO, "%s came to no end within its bounds of memory and time",
                               argv[0]);
        return WEXITSTATUS(status);
}

static int first_line(const struct buf *text, const char *what, struct err *e)
{
        const char *s = buf_str(text);

        return err_set(e, -EINVAL, "%s: %.*s", what, (int)strcspn(s, "\n"), s);
}

/* A second opinion on what the header was read as. */
static int judge_info(const struct buf *text, int64_t max_virtual, struct image_format *f,
                      struct err *e)
{
        autojson struct json *j = NULL;
        int rc = json_parse(buf_str(text), text->len, OUTPUT_MAX, &j, e);

        if (rc)
                return err_wrap(e, "qemu-img info");
        const struct json *data = json_path(j, "format-specific", "data", NULL);
        f->virtual_size = json_int(j, "virtual-size", -1);
        if (strcmp(json_str(j, "format", ""), f->name) != 0)
                return err_set(e, -EINVAL, "the image is not the %s that it begins as", f->name);
        if (json_get(j, "backing-filename") || json_get(j, "full-backing-filename"))
                return err_set(e, -EINVAL, "the image names a backing file");
        if (json_get(data, "data-file"))
                return err_set(e, -EINVAL, "the image keeps its data in another file");
        if (json_bool(j, "encrypted", false) || json_get(data, "encrypt"))
                return err_set(e, -EINVAL, "the image is encrypted");
        if (json_bool(data, "corrupt", false))
                return err_set(e, -EINVAL, "the image is marked as corrupt");
        if (f->virtual_size <= 0 || f->virtual_size > max_virtual)
                return err_set(e, -EINVAL,
                               "the image is of a disk of %" PRId64 " bytes, more than %" PRId64
                               " or none",
                               f->virtual_size, max_virtual);
        return 0;
}

static int ask_qemu(const char *path, int64_t max_virtual, struct image_format *f, struct err *e)
{
        autobuf struct buf text = buf_new(OUTPUT_MAX);
        const char *const argv[] = {"qemu-img", "info", "--output=json", "-U", "-f", f->name,
                                    path,       NULL};
        int rc = run_limited(argv, &text, e);

        if (rc < 0)
                return rc;
        return rc ? first_line(&text, "the image cannot be read", e)
                  : judge_info(&text, max_virtual, f, e);
}

/* Exit code 3 tells of room that is lost, which harms nobody. */
static int look_through(const char *path, struct err *e)
{
        autobuf struct buf text = buf_new(OUTPUT_MAX);
        const char *const argv[] = {"qemu-img", "check", "-q", "-U", "-f", "qcow2", path, NULL};
        int rc = run_limited(argv, &text, e);

        if (rc <= 0)
                return rc;
        return rc == 3 ? 0 : first_line(&text, "the image is damaged or cut short", e);
}

int format_check(const char *path, int64_t max_virtual, bool thorough, struct image_format *out,
                 struct err *e)
{
        struct image_format f = {0};
        struct header h;
        int fd, rc = read_header(path, &h, &fd, e);

        if (rc)
                return rc;
        close(fd);
        f.name = h.qcow2 ? "qcow2" : "raw";
        rc = h.qcow2 ? check_qcow2(&h, max_virtual, e) : check_raw(&h, max_virtual, e);
        if (!rc)
                rc = ask_qemu(path, max_virtual, &f, e);
        if (!rc && thorough && h.qcow2)
                rc = look_through(path, e);
        if (!rc)
                *out = f;
        return rc;
}

int format_backing(const char *path, char out[1024], struct err *e)
{
        struct header h;
        int fd, rc = read_header(path, &h, &fd, e);

        if (rc)
                return rc;
        out[0] = '\0';
        uint64_t at = h.qcow2 && h.len >= QCOW2_HEADER_MIN ? be(h.b + 8, 8) : 0;
        uint64_t len = at ? be(h.b + 16, 4) : 0;
        if (len > 1023 || at > (uint64_t)1 << 40) {
                rc = err_set(e, -EBADMSG, "%s: not a qcow2's backing file", path);
        } else if (len) {
                ssize_t n = pread(fd, out, len, (off_t)at);
                if (n == (ssize_t)len)
                        out[len] = '\0';
                else
                        rc = err_set(e, -EIO, "%s: its backing file cannot be read", path);
        }
        close(fd);
        return rc;
}
