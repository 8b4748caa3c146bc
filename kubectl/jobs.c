#include "kubectl/jobs.h"

#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define LOOK_MS 100 /* for the end of a job whose pipes are closed */

static int signals = -1;

void jobs_begin(void)
{
        sigset_t ends;

        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&ends);
        sigaddset(&ends, SIGINT);
        sigaddset(&ends, SIGTERM);
        sigaddset(&ends, SIGHUP);
        sigprocmask(SIG_BLOCK, &ends, NULL);
        if (signals < 0)
                signals = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void close_fd(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

int job_start(struct job *j, const char *const argv[], size_t max, struct err *e)
{
        int p[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, rc = 0;
        pid_t pid = 0;

        for (int i = 0; i < 3 && !rc; i++)
                rc = pipe2(p[i], O_CLOEXEC) ? -errno : 0;
        if (!rc)
                rc = spawn(argv, (const int[3]){p[0][0], p[1][1], p[2][1]}, &pid);
        close_fd(&p[0][0]);
        close_fd(&p[1][1]);
        close_fd(&p[2][1]);
        if (rc) {
                close_fd(&p[0][1]);
                close_fd(&p[1][0]);
                close_fd(&p[2][0]);
                return err_sys(e, rc, "cannot run %s", argv[0]);
        }
        *j = (struct job){.pid = pid,
                          .in = p[0][1],
                          .out = p[1][0],
                          .err = p[2][0],
                          .text = buf_new(max),
                          .said = buf_new(JOB_ERROR_MAX)};
        fcntl(j->in, F_SETFL, O_NONBLOCK);
        fcntl(j->out, F_SETFL, O_NONBLOCK);
        fcntl(j->err, F_SETFL, O_NONBLOCK);
        return 0;
}

bool job_write(struct job *j, const char *text)
{
        size_t len = strlen(text);

        return j->in >= 0 && write(j->in, text, len) == (ssize_t)len;
}

void job_close_input(struct job *j)
{
        close_fd(&j->in);
}

void job_kill(struct job *j)
{
        if (j->pid > 0 && !j->ended) {
                kill(-j->pid, SIGKILL);
                kill(j->pid, SIGKILL);
        }
}

void job_free(struct job *j)
{
        job_kill(j);
        if (j->pid > 0) {
                if (!j->ended)
                        while (waitpid(j->pid, &j->status, 0) < 0 && errno == EINTR)
                                ;
                close_fd(&j->in);
                close_fd(&j->out);
                close_fd(&j->err);
        }
        buf_free(&j->text);
        buf_free(&j->said);
        *j = (struct job){.in = -1, .out = -1, .err = -1};
}

/* True when something came, or the end. */
static bool drain(struct job *j, int *fd, struct buf *to, bool bounded)
{
        char chunk[16384];
        bool news = false;

        while (*fd >= 0) {
                ssize_t n = read(*fd, chunk, sizeof(chunk));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                news = true;
                if (n <= 0) {
                        close_fd(fd);
                } else if (!to->failed && buf_add(to, chunk, (size_t)n) && bounded) {
                        j->flooded = true;
                        job_kill(j);
                }
        }
        return news;
}

static bool look(struct job *j)
{
        bool news = drain(j, &j->out, &j->text, true);

        news |= drain(j, &j->err, &j->said, false);

        if (!j->ended && waitpid(j->pid, &j->status, WNOHANG) == j->pid) {
                j->ended = true;
                close_fd(&j->in);
                drain(j, &j->out, &j->text, true);
                drain(j, &j->err, &j->said, false);
                news = true;
        }
        return news;
}

static bool interrupted(void)
{
        struct signalfd_siginfo info;

        return signals >= 0 && read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

enum jobs_event jobs_wait(struct job *jobs, size_t n, struct mono until)
{
        autofree struct pollfd *p = calloc(2 * n + 1, sizeof(*p));

        for (;;) {
                bool news = false, running = false;

                for (size_t i = 0; i < n; i++) {
                        if (jobs[i].pid <= 0 || jobs[i].ended)
                                continue;
                        news |= look(&jobs[i]);
                        running |= !jobs[i].ended;
                }
                if (interrupted())
                        return JOBS_INTERRUPTED;
                if (news || !running)
                        return JOBS_NEWS;
                int64_t left = mono_ms_between(mono_now(), until);
                if (left <= 0 || !p)
                        return JOBS_TIMEOUT;
                p[2 * n] = (struct pollfd){.fd = signals, .events = POLLIN};
                for (size_t i = 0; i < n; i++) {
                        bool on = jobs[i].pid > 0 && !jobs[i].ended;
                        p[2 * i] = (struct pollfd){.fd = on ? jobs[i].out : -1, .events = POLLIN};
                        p[2 * i + 1] =
                                (struct pollfd){.fd = on ? jobs[i].err : -1, .events = POLLIN};
                }
                (void)poll(p, 2 * n + 1, (int)(left < LOOK_MS ? left : LOOK_MS));
        }
}

int job_result(const struct job *j, const char *name, struct err *e)
{
        const char *text = buf_str(&j->said);
        size_t end = j->said.len;

        if (j->flooded)
                return err_set(e, -E2BIG, "%s: more than %zu bytes of output", name, j->text.limit);
        if (!j->ended)
                return err_set(e, -ETIMEDOUT, "%s: no answer in time", name);
        if (WIFEXITED(j->status) && !WEXITSTATUS(j->status))
                return 0;
        while (end && (text[end - 1] == '\n' || text[end - 1] == ' '))
                end--;
        size_t from = end;
        while (from && text[from - 1] != '\n')
                from--;
        if (end > from)
                return err_set(e, -EIO, "%s: %.*s", name,
                               (int)(end - from < 300 ? end - from : 300), text + from);
        if (WIFSIGNALED(j->status))
                return err_set(e, -EIO, "%s: ended by signal %d", name, WTERMSIG(j->status));
        return err_set(e, -EIO, "%s: exit code %d", name, WEXITSTATUS(j->status));
}
