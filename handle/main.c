/*
 * drover-handle: the only program of a handle pod. The pod stands for a virtual machine in the
 * eyes of Kubernetes; the machine itself runs outside of it, so all there is to do is wait for
 * the end. As process 1 it gets no default signal actions and must ask for them.
 */
#include <signal.h>
#include <unistd.h>

static void leave(int sig)
{
        (void)sig;
        _exit(0);
}

int main(void)
{
        signal(SIGTERM, leave);
        signal(SIGINT, leave);
        for (;;)
                pause();
}
