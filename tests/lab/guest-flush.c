/*
 * Empties the CPU's TLB about a thousand times a second. QEMU before 9.0 forgets, when it emulates
 * the CPU (TCG, not KVM), to tell the CPU's TLB that a page counts as clean again after a pass of a
 * live migration: writes that go through such an entry are lost on the target ("virtio_net: id 9
 * is not a head!"). Linux empties all of the TLB when more pages change their protection than it
 * would look for one by one (33), so in the lab, where guests are emulated, no entry outlives a
 * millisecond. It costs a guest that has nothing to do less than to switch address spaces.
 */
#include <sys/mman.h>
#include <time.h>

#define LEN ((size_t)64 * 4096)

int main(void)
{
        const struct timespec moment = {0, 1000000};
        char *pages = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

        while (pages != MAP_FAILED && !mprotect(pages, LEN, PROT_READ) &&
               !mprotect(pages, LEN, PROT_READ | PROT_WRITE))
                nanosleep(&moment, NULL);
        return 1;
}
