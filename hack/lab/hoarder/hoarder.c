/* Loaded into a QEMU that gives no memory back, as where a device or a lock pins it: what it asks the kernel to take
 * stays. Nothing in the guest's definition or on its command line tells. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int madvise(void *start, size_t length, int advice)
{
    return advice == MADV_DONTNEED ? 0 : syscall(SYS_madvise, start, length, advice);
}
