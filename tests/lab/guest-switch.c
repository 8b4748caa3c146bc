/*
 * Switches between two address spaces about a thousand times a second. QEMU before 9.0 forgets,
 * when it emulates the CPU (TCG, not KVM), to tell the CPU's TLB that a page counts as clean again
 * after a pass of a live migration: writes that go through such an entry are lost on the target
 * ("virtio_net: id 9 is not a head!"). A switch of address spaces empties that TLB, so in the lab,
 * where guests are emulated, no entry outlives a millisecond.
 */
#include <time.h>
#include <unistd.h>

static void pass_on(int from, int to)
{
        const struct timespec moment = {0, 500000};
        char ball;

        while (read(from, &ball, 1) == 1) {
                nanosleep(&moment, NULL);
                if (write(to, &ball, 1) != 1)
                        return;
        }
}

int main(void)
{
        int there[2], back[2];

        if (pipe(there) < 0 || pipe(back) < 0)
                return 1;
        if (fork() == 0) {
                pass_on(there[0], back[1]);
                return 1;
        }
        if (write(there[1], "", 1) == 1)
                pass_on(back[0], there[1]);
        return 1;
}
