/*
 * Process 1 of a lab node's PID namespace: starts the node's script and reaps every orphan at once.
 * QEMU is daemonized by libvirt and thus ours; a zombie of it would make libvirt wait at each
 * destroy and at the end of each migration. When this process ends the kernel ends all the others.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int sig)
{
        (void)sig;
        _exit(0);
}

int main(int argc, char **argv)
{
        pid_t child;

        if (argc < 2)
                return 2;
        signal(SIGTERM, leave); /* process 1 gets no default actions */
        child = fork();
        if (child == 0) {
                execvp(argv[1], argv + 1);
                _exit(127);
        }
        for (;;)
                if (wait(NULL) < 0)
                        pause();
}
