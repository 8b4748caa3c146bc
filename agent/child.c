#include "agent/child.h"

#include "base/mono.h"
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Pids of stuck children. Past the bound a child stays a zombie of ours, nothing worse. */
#define LEFT_MAX 256
static struct {
        pthread_mutex_t lock;
        pid_t pid[LEFT_MAX];
        size_t n;
} left = {.lock = PTHREAD_MUTEX_INITIALIZER};

int child_start(struct child *c, const char *const argv[], struct err *e)
{
        int p[2], rc;
        pid_t pid;

        if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
                return err_sys(e, -errno, "pipe");
        fcntl(p[1], F_SETFL, 0); /* the child's end blocks as programs expect */
        rc = spawn(argv, (const int[3]){-1, p[1], p[1]}, &pid);
        close(p[1]);
        if (rc) {
                close(p[0]);
                return err_sys(e, rc, "cannot run %s", argv[0]);
        }
        *c = (struct child){.pid = pid, .out = p[0], .text = buf_new(CHILD_OUTPUT_MAX)};
        c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        return 0;
}

/* Reads what is there; closes the pipe at its end. Beyond the bound output is thrown away. */
static void drain(struct child *c)
{
        char chunk[4096];
        ssize_t n = 0;

        while (c->out >= 0 && (n = read(c->out, chunk, sizeof(chunk))) > 0)
                if (!c->text.failed)
                        (void)buf_add(&c->text, chunk, (size_t)n);
        if (c->out >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
                close(c->out);
                c->out = -1;
        }
}

static bool reaped(struct child *c)
{
        if (!c->ended && waitpid(c->pid, &c->status, WNOHANG) == c->pid)
                c->ended = true;
        return c->ended;
}

bool child_wait(struct child *c, int64_t ms)
{
        struct mono end = mono_add_ms(mono_now(), ms);

        for (;;) {
                drain(c);
                if (reaped(c)) {
                        drain(c);
                        return true;
                }
                int64_t rest = mono_ms_between(mono_now(), end);
                if (rest <= 0)
                        return false;
                struct pollfd p[CHILD_FDS];
                size_t n = child_fds(c, p);
                /* Without a pidfd (too old a kernel, or no descriptor left) look every 10 ms. */
                if (c->pidfd < 0 && rest > 10)
                        rest = 10;
                (void)poll(p, n, (int)rest);
        }
}

size_t child_fds(const struct child *c, struct pollfd out[CHILD_FDS])
{
        size_t n = 0;

        if (c->pidfd >= 0)
                out[n++] = (struct pollfd){.fd = c->pidfd, .events = POLLIN};
        if (c->out >= 0)
                out[n++] = (struct pollfd){.fd = c->out, .events = POLLIN};
        return n;
}

void child_kill(struct child *c)
{
        if (!c->ended) {
                kill(-c->pid, SIGKILL);
                kill(c->pid, SIGKILL); /* should it not have reached its own group yet */
        }
}

static void leave_behind(pid_t pid)
{
        pthread_mutex_lock(&left.lock);
        if (left.n < LEFT_MAX)
                left.pid[left.n++] = pid;
        pthread_mutex_unlock(&left.lock);
}

void child_free_by(struct child *c, struct mono end)
{
        if (c->pid > 0 && !c->ended) {
                child_kill(c);
                if (!child_wait(c, mono_ms_between(mono_now(), end)))
                        leave_behind(c->pid);
        }
        if (c->pid > 0) {
                if (c->pidfd >= 0)
                        close(c->pidfd);
                if (c->out >= 0)
                        close(c->out);
        }
        buf_free(&c->text);
        *c = (struct child){.pidfd = -1, .out = -1};
}

void child_free(struct child *c)
{
        child_free_by(c, mono_add_ms(mono_now(), CHILD_KILL_MS));
}

size_t child_reap(void)
{
        pthread_mutex_lock(&left.lock);
        for (size_t i = 0; i < left.n;) {
                if (waitpid(left.pid[i], NULL, WNOHANG) != 0)
                        left.pid[i] = left.pid[--left.n];
                else
                        i++;
        }
        size_t n = left.n;
        pthread_mutex_unlock(&left.lock);
        return n;
}

/* The last line that the child wrote says best what went wrong. */
static int failed(const struct child *c, const char *name, struct err *e)
{
        char line[ERR_MSG_MAX / 2];
        const char *text = buf_str(&c->text);
        size_t n = c->text.len;

        while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
                n--;
        size_t from = n;
        while (from && text[from - 1] != '\n')
                from--;
        snprintf(line, sizeof(line), "%.*s", (int)(n - from), text + from);
        if (*line)
                return err_set(e, -EIO, "%s", line);
        if (WIFSIGNALED(c->status))
                return err_set(e, -EIO, "%s was ended by signal %d", name, WTERMSIG(c->status));
        return err_set(e, -EIO, "%s failed with exit code %d", name, WEXITSTATUS(c->status));
}

int child_run(const char *const argv[], int64_t deadline_ms, struct buf *out, struct err *e)
{
        struct child c;
        int rc = child_start(&c, argv, e);

        if (rc)
                return rc;
        if (!child_wait(&c, deadline_ms)) {
                child_kill(&c);
                rc = child_wait(&c, CHILD_KILL_MS) ? -ETIMEDOUT : -EDEADLK;
                err_set(e, rc, "no answer within %lld ms%s", (long long)deadline_ms,
                        rc == -EDEADLK ? ", and not even SIGKILL ends it" : "");
        } else if (!WIFEXITED(c.status) || WEXITSTATUS(c.status)) {
                rc = failed(&c, argv[0], e);
        } else if (out) {
                rc = buf_add(out, buf_str(&c.text), c.text.len);
                if (rc)
                        err_set(e, rc, "the output of %s is too long", argv[0]);
        }
        child_free(&c);
        return rc;
}
