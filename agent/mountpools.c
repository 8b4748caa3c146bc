#include "agent/mountpools.h"

#include "agent/files.h"
#include "agent/mountinfo.h"
#include "agent/tool.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mono.h"
#include "base/options.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define FILE_MAX   ((size_t)64 << 10)
#define TICK_MS    500
#define MOUNT_MS   120000 /* for one attempt: mount.nfs asks, and asks again */
#define PATH_BYTES 4096

/* --- saying things once */

static void say(struct mount_pool *p, enum log_level level, const char *what)
{
        if (!strcmp(p->said, what))
                return;
        snprintf(p->said, sizeof(p->said), "%s", what);
        log_msg(level, what, "pool", p->want.pool, "source", p->want.source, "path", p->want.path,
                NULL);
}

/* --- the configuration */

static void forget_pools(struct mount_pools *m)
{
        for (size_t i = 0; i < m->n; i++)
                if (m->v[i].mounting)
                        child_free(&m->v[i].child);
        m->n = 0;
}

static void take_text(struct mount_pools *m, const struct buf *text)
{
        struct mountplan_entry *want = calloc(MOUNT_POOLS_MAX, sizeof(*want));
        struct err e;
        size_t n = 0;

        if (!want)
                return;
        if (mountplan_parse(buf_str(text), want, MOUNT_POOLS_MAX, &n, &e)) {
                if (!m->told)
                        log_err(&e, "the pools to mount are not understood", "file", m->file, NULL);
                m->told = true;
                free(want);
                return;
        }
        forget_pools(m);
        buf_reset(&m->text);
        buf_adds(&m->text, buf_str(text));
        for (size_t i = 0; i < n; i++)
                m->v[i] = (struct mount_pool){.want = want[i]};
        m->n = n;
        m->told = false;
        free(want);
}

/* A file that is bad or gone changes nothing. */
static void look_at_file(struct mount_pools *m)
{
        autobuf struct buf text = buf_new(FILE_MAX);
        struct err e;

        if (file_read(m->file, &text, &e)) {
                if (!m->told)
                        log_err(&e, "the pools to mount cannot be read", NULL);
                m->told = true;
        } else if (strcmp(buf_str(&text), buf_str(&m->text)) != 0) {
                take_text(m, &text);
        }
}

/* --- mounting */

static void failed(struct mount_pool *p, int64_t now_ms, const char *why)
{
        char text[ERR_MSG_MAX];

        p->failures++;
        p->next_ms = now_ms + mountplan_wait_ms(p->failures);
        snprintf(text, sizeof(text), "cannot mount, will try again: %.400s", why);
        text[strcspn(text, "\n")] = '\0';
        say(p, LOG_WARN, text);
}

static void attempt(struct mount_pools *m, struct mount_pool *p, int64_t now_ms)
{
        bool nfs = !strncmp(m->type, "nfs", 3); /* nothing else knows the safe options */
        char options[MOUNTPLAN_OPTIONS_MAX] = "defaults";
        struct err e;
        int rc = nfs ? mountplan_options(p->want.options, options, &e) : 0;
        const char *const argv[] = {AGENT_SELF,     "mount-pools", "one",   m->host, m->type,
                                    p->want.source, p->want.path,  options, NULL};

        if (!rc)
                rc = child_start(&p->child, argv, &e);
        if (rc) {
                failed(p, now_ms, e.msg);
                return;
        }
        p->mounting = true;
        p->deadline_ms = now_ms + MOUNT_MS;
}

static void look_at_child(struct mount_pool *p, int64_t now_ms)
{
        struct child *c = &p->child;

        if (child_wait(c, 0)) {
                bool good = WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0;

                if (good) { /* the next look says so */
                        p->failures = 0;
                        p->next_ms = now_ms;
                } else {
                        failed(p, now_ms, c->text.len ? buf_str(&c->text) : "mount crashed");
                }
        } else if (now_ms >= p->deadline_ms) {
                failed(p, now_ms, "the server does not answer");
        } else {
                return;
        }
        child_free(c);
        p->mounting = false;
}

static void look_at_pool(struct mount_pools *m, struct mount_pool *p, int64_t now_ms)
{
        char file[PATH_BYTES], text[ERR_MSG_MAX];
        struct mount_entry now;
        struct err e;

        snprintf(file, sizeof(file), "%s/mountinfo", m->host);
        int rc = mountinfo_read(file, p->want.path, &now, &e);
        if (rc && rc != -ENODEV) {
                failed(p, now_ms, e.msg);
                return;
        }
        p->next_ms = now_ms + MOUNTPLAN_PERIOD_MS;
        switch (mountplan_decide(p->want.source, rc ? NULL : now.source)) {
        case MOUNTPLAN_MOUNT:
                attempt(m, p, now_ms);
                break;
        case MOUNTPLAN_LEAVE:
                p->failures = 0;
                say(p, LOG_INFO, "mounted");
                break;
        case MOUNTPLAN_REFUSE:
                snprintf(text, sizeof(text),
                         "%.200s is mounted there, which stays: unmount it by hand once no guest "
                         "uses it",
                         now.source);
                say(p, LOG_ERROR, text);
                break;
        }
}

void mount_pools_step(struct mount_pools *m, int64_t now_ms)
{
        look_at_file(m);
        for (size_t i = 0; i < m->n; i++) {
                struct mount_pool *p = &m->v[i];

                if (p->mounting)
                        look_at_child(p, now_ms);
                else if (now_ms >= p->next_ms)
                        look_at_pool(m, p, now_ms);
        }
        (void)child_reap();
}

void mount_pools_free(struct mount_pools *m)
{
        forget_pools(m);
        buf_free(&m->text);
}

bool mount_pools_source(const char *file, const char *path, char out[MOUNT_SOURCE_MAX])
{
        autobuf struct buf text = buf_new(FILE_MAX);
        autofree struct mountplan_entry *want = NULL;
        bool found = false;
        struct err e;
        size_t n = 0;

        if (file_read(file, &text, &e) || !(want = calloc(MOUNT_POOLS_MAX, sizeof(*want))) ||
            mountplan_parse(buf_str(&text), want, MOUNT_POOLS_MAX, &n, &e))
                return false;
        for (size_t i = 0; i < n && !found; i++) {
                found = !strcmp(want[i].path, path);
                if (found)
                        snprintf(out, MOUNT_SOURCE_MAX, "%s", want[i].source);
        }
        return found;
}

/* --- the child */

/* HOST FSTYPE SOURCE PATH OPTIONS */
static int mount_one(char **argv)
{
        char file[PATH_BYTES];
        struct mount_entry now;
        struct err e;

        snprintf(file, sizeof(file), "%s/ns/mnt", argv[0]);
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return complain("cannot open", file);
        if (unshare(CLONE_FS) || setns(fd, CLONE_NEWNS)) /* no thread may share its root */
                return complain("cannot enter", file);
        if (make_folders(argv[3]))
                return complain("cannot create", argv[3]);
        /* once more, from within: never over something else */
        int rc = mountinfo_read("/proc/self/mountinfo", argv[3], &now, &e);
        if (rc != -ENODEV) {
                printf("%s\n", rc ? e.msg : "something has been mounted there meanwhile");
                return 1;
        }
        fflush(stdout);
        setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
        execlp("mount", "mount", "-t", argv[1], "-o", argv[4], "--", argv[2], argv[3], NULL);
        return complain("cannot run", "mount");
}

int mount_pools_main(int argc, char **argv)
{
        static struct mount_pools m = {.file = MOUNT_POOLS_FILE, .host = "/proc/1", .type = "nfs"};
        const struct option_row rows[] = {
                OPTION_TEXT("file", NULL, "FILE", "POOL SERVER:/EXPORT /PATH [OPTIONS] a line",
                            &m.file),
                OPTION_TEXT("host", NULL, "/proc/PID", "in whose mount namespace", &m.host),
                OPTION_TEXT("type", NULL, "FSTYPE", "of the file systems", &m.type),
        };
        struct err e;

        if (argc == 6 && !strcmp(argv[0], "one"))
                return mount_one(argv + 1);
        log_init("mount-pools");
        int rc = options_parse(argc + 1, argv - 1, rows, countof(rows), NULL, &e);
        if (rc) {
                fprintf(stderr, "drover-agent mount-pools: %s\n",
                        rc < 0 ? e.msg : "[--file FILE] [--host /proc/PID] [--type FSTYPE]");
                return 2;
        }
        m.text = buf_new(FILE_MAX);
        log_msg(LOG_INFO, "mounts pools", "file", m.file, NULL);
        for (;;) {
                mount_pools_step(&m, mono_ms(mono_now()));
                nanosleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000L}, NULL);
        }
}
