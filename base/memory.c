#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* The loader has written to constants too. */
static bool relocated(const struct dl_phdr_info *object)
{
        for (int i = 0; i < object->dlpi_phnum; i++) {
                const ElfW(Phdr) *p = &object->dlpi_phdr[i];

                if (p->p_type != PT_DYNAMIC)
                        continue;
                const ElfW(Dyn) *d = (const void *)(object->dlpi_addr + p->p_vaddr);
                for (; d->d_tag != DT_NULL; d++)
                        if (d->d_tag == DT_TEXTREL ||
                            (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
                                return true;
        }
        return false;
}

/* Segments that cannot be written to are as they are in the file, so nothing is lost with them. */
static int drop_constants(struct dl_phdr_info *object, size_t size, void *ctx)
{
        uintptr_t page = *(const uintptr_t *)ctx;

        (void)size;
        if (relocated(object))
                return 0;
        for (int i = 0; i < object->dlpi_phnum; i++) {
                const ElfW(Phdr) *p = &object->dlpi_phdr[i];
                uintptr_t from = (object->dlpi_addr + p->p_vaddr) & ~(page - 1);

                if (p->p_type != PT_LOAD || p->p_flags & PF_W)
                        continue;
                /* Refused for what the kernel itself has put there, such as the vDSO. */
                madvise((void *)from, object->dlpi_addr + p->p_vaddr + p->p_memsz - from,
                        MADV_DONTNEED);
        }
        return 0;
}

void memory_settle(void)
{
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

        malloc_trim(0);
        dl_iterate_phdr(drop_constants, &page);
}
