/*
 * For the lab's guest: memory that is in use, and memory that is written. Reads one line from its
 * standard input, which is a connection:
 *   touch MIB        fills so much memory with what does not compress to nothing, and keeps it
 *   dirty MIB RATE   writes all pages of so much memory over and over, RATE MiB a second
 *   stop             ends the one that runs
 * Answers "ok" once the memory is filled.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PID_FILE "/tmp/load.pid"
#define PAGE     4096
#define SLICES   50 /* of a second */

static void end_former(void)
{
        FILE *f = fopen(PID_FILE, "r");
        int pid;

        if (f && fscanf(f, "%d", &pid) == 1 && pid > 1)
                kill(pid, SIGKILL);
        if (f)
                fclose(f);
        unlink(PID_FILE);
}

static void fill(unsigned char *p, size_t n)
{
        uint64_t x = 88172645463325252u;

        for (size_t i = 0; i + sizeof(x) <= n; i += sizeof(x)) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                memcpy(p + i, &x, sizeof(x));
        }
}

/* A byte of each page is written: the whole page must be sent again. */
static void dirty(unsigned char *p, size_t n, size_t rate)
{
        struct timespec due;
        size_t at = 0;

        clock_gettime(CLOCK_MONOTONIC, &due);
        for (;;) {
                for (size_t i = 0; i < rate / SLICES; i += PAGE) {
                        p[at]++;
                        at = at + PAGE < n ? at + PAGE : 0;
                }
                due.tv_nsec += 1000000000 / SLICES;
                if (due.tv_nsec >= 1000000000) {
                        due.tv_nsec -= 1000000000;
                        due.tv_sec++;
                }
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        }
}

static void detach(void)
{
        FILE *f;
        int null;

        if (fork())
                exit(0);
        setsid();
        f = fopen(PID_FILE, "w");
        if (f) {
                fprintf(f, "%d", (int)getpid());
                fclose(f);
        }
        null = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++)
                dup2(null, fd);
}

int main(void)
{
        char line[100], verb[16];
        unsigned long mib = 0, rate = 0;

        if (!fgets(line, sizeof(line), stdin) ||
            sscanf(line, "%15s %lu %lu", verb, &mib, &rate) < 1)
                return 1;
        end_former();
        if (!mib) {
                puts("ok");
                return 0;
        }
        size_t n = mib << 20;
        unsigned char *p =
                mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
                puts(strerror(errno));
                return 1;
        }
        fill(p, n);
        puts("ok");
        fflush(stdout);
        detach();
        if (rate)
                dirty(p, n, rate << 20);
        for (;;)
                pause();
}
