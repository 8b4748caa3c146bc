#include "agent/part.h"

#include "agent/files.h"
#include "base/file.h"
#include "base/hex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK    ((size_t)1 << 20)
#define NOTE_MAX 512
#define PART_END ".part"

/* --- the note: "SYNCED TOTAL VALIDATOR" */

struct note {
        int64_t synced, total;
        char validator[PART_VALIDATOR_MAX];
};

/* All zeroes when there is none, or it says nothing that can be read. */
static void read_note(const char *path, struct note *out)
{
        autobuf struct buf b = buf_new(NOTE_MAX);
        struct note n = {0};
        struct err e;

        *out = (struct note){0};
        if (file_read(path, &b, &e) ||
            sscanf(buf_str(&b), "%" SCNd64 " %" SCNd64 " %255[^\n]", &n.synced, &n.total,
                   n.validator) < 2 ||
            n.synced < 0 || n.total < 0)
                return;
        *out = n;
}

static int write_note(struct part *p, int64_t synced, struct err *e)
{
        char text[NOTE_MAX];
        int n = snprintf(text, sizeof(text), "%" PRId64 " %" PRId64 " %s\n", synced, p->total,
                         p->validator);
        int rc = file_write(p->note, text, (size_t)n, 0600, e);

        if (!rc)
                p->synced = synced;
        return rc;
}

static void note_beside(const char *part, char out[PATH_MAX])
{
        snprintf(out, PATH_MAX, "%.*s.note", (int)(strlen(part) - strlen(PART_END)), part);
}

/* --- what another importer has */

/* The part of that uid, but ours, of which most is noted; false when there is none. */
static bool find_other(const struct part *p, const char *folder, const char *uid,
                       char path[PATH_MAX], struct note *note)
{
        char begin[NAME_MAX], other[PATH_MAX], beside[PATH_MAX];
        DIR *d = opendir(folder);
        struct dirent *entry;
        struct note n;

        *note = (struct note){0};
        snprintf(begin, sizeof(begin), "%s.", uid);
        while (d && (entry = readdir(d))) {
                size_t len = strlen(entry->d_name);
                if (strncmp(entry->d_name, begin, strlen(begin)) != 0 || len < strlen(PART_END) ||
                    strcmp(entry->d_name + len - strlen(PART_END), PART_END) != 0)
                        continue;
                if (snprintf(other, sizeof(other), "%s/%s", folder, entry->d_name) >= PATH_MAX ||
                    !strcmp(other, p->path))
                        continue;
                note_beside(other, beside);
                read_note(beside, &n);
                if (n.synced > note->synced) {
                        memcpy(path, other, PATH_MAX);
                        *note = n;
                }
        }
        if (d)
                closedir(d);
        return note->synced > 0;
}

static int copy_bytes(struct part *p, int from, int64_t len, struct err *e)
{
        char *chunk = malloc(CHUNK);
        int rc = chunk ? 0 : err_set(e, -ENOMEM, "out of memory");

        while (!rc && p->size < len) {
                size_t want = len - p->size < (int64_t)CHUNK ? (size_t)(len - p->size) : CHUNK;
                ssize_t n = pread(from, chunk, want, p->size);
                if (n <= 0)
                        rc = err_set(e, -ESTALE, "the other part has become shorter");
                else
                        rc = part_append(p, chunk, (size_t)n, e);
        }
        free(chunk);
        return rc;
}

/*
 * Whoever wrote it may be writing still, of the same version of the remote file; when he has begun
 * with another one meanwhile, what was copied is nothing.
 */
static int take_over(struct part *p, const char *folder, const char *uid, struct err *e)
{
        char path[PATH_MAX], beside[PATH_MAX];
        struct note before, after;

        if (!find_other(p, folder, uid, path, &before))
                return 0;
        int from = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (from < 0)
                return 0; /* removed just now */
        int rc = copy_bytes(p, from, before.synced, e);
        close(from);
        note_beside(path, beside);
        read_note(beside, &after);
        if (rc == -ESTALE || (!rc && (after.synced < before.synced ||
                                      strcmp(after.validator, before.validator) != 0)))
                return part_restart(p, "", 0, e);
        if (rc)
                return rc;
        p->total = before.total;
        memcpy(p->validator, before.validator, sizeof(p->validator));
        p->patched = true;
        return part_sync(p, e);
}

/* --- the part */

/* Cuts off what is not noted. */
static int resume(struct part *p, struct err *e)
{
        struct note n;
        off_t end = lseek(p->fd, 0, SEEK_END);

        read_note(p->note, &n);
        if (end < 0)
                return err_sys(e, -errno, "cannot look at %s", p->path);
        if (n.synced > end)
                n = (struct note){0};
        if (ftruncate(p->fd, n.synced))
                return err_sys(e, -errno, "cannot cut %s", p->path);
        p->size = p->synced = n.synced;
        p->total = n.total;
        memcpy(p->validator, n.validator, sizeof(p->validator));
        p->patched = n.synced > 0;
        return 0;
}

int part_open(const char *folder, const char *uid, int64_t epoch, struct part *out, struct err *e)
{
        struct part p = {0};

        if (snprintf(p.path, sizeof(p.path), "%s/%s.%" PRId64 PART_END, folder, uid, epoch) >=
            (int)sizeof(p.path) - 16)
                return err_set(e, -ENAMETOOLONG, "%s: too long a path", folder);
        note_beside(p.path, p.note);
        p.fd = open(p.path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (p.fd < 0)
                return err_sys(e, -errno, "cannot create %s", p.path);
        int rc = resume(&p, e);
        if (!rc && !p.size)
                rc = take_over(&p, folder, uid, e);
        if (rc)
                part_close(&p);
        else
                *out = p;
        return rc;
}

void part_close(struct part *p)
{
        if (p->fd >= 0)
                close(p->fd);
        p->fd = -1;
}

int part_restart(struct part *p, const char *validator, int64_t total, struct err *e)
{
        snprintf(p->validator, sizeof(p->validator), "%s", validator);
        p->total = total;
        p->patched = false;
        int rc = write_note(p, 0, e); /* first: what is there is of another version */
        if (rc)
                return rc;
        if (ftruncate(p->fd, 0))
                return err_sys(e, -errno, "cannot cut %s", p->path);
        p->size = 0;
        return 0;
}

int part_append(struct part *p, const void *data, size_t len, struct err *e)
{
        const char *at = data;

        while (len) {
                ssize_t n = pwrite(p->fd, at, len, p->size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_sys(e, -errno, "cannot write %s", p->path);
                at += n;
                len -= (size_t)n;
                p->size += n;
        }
        return 0;
}

int part_sync(struct part *p, struct err *e)
{
        if (fdatasync(p->fd))
                return err_sys(e, -errno, "cannot sync %s", p->path);
        return write_note(p, p->size, e);
}

static int digest_all(const struct part *p, EVP_MD_CTX *md, char *chunk,
                      void (*told)(void *ctx, int64_t done), void *ctx, struct err *e)
{
        int64_t at = 0;
        ssize_t n;

        while ((n = pread(p->fd, chunk, CHUNK, at)) > 0) {
                if (EVP_DigestUpdate(md, chunk, (size_t)n) != 1)
                        return err_set(e, -EIO, "SHA-256 fails");
                at += n;
                if (told)
                        told(ctx, at);
        }
        return n < 0 ? err_sys(e, -errno, "cannot read %s", p->path) : 0;
}

int part_sha256(const struct part *p, void (*told)(void *ctx, int64_t done), void *ctx,
                char out[PART_SHA256_SIZE], struct err *e)
{
        unsigned char sum[EVP_MAX_MD_SIZE];
        unsigned len = 0;
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        char *chunk = malloc(CHUNK);
        int rc = 0;

        if (!md || !chunk || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
                rc = err_set(e, -ENOMEM, "out of memory");
        if (!rc)
                rc = digest_all(p, md, chunk, told, ctx, e);
        if (!rc && EVP_DigestFinal_ex(md, sum, &len) != 1)
                rc = err_set(e, -EIO, "SHA-256 fails");
        if (!rc)
                hex_encode(out, sum, len);
        EVP_MD_CTX_free(md);
        free(chunk);
        return rc;
}

void part_drop(struct part *p)
{
        part_close(p);
        unlink(p->path);
        unlink(p->note);
}
