/* Loaded before the C library by `cargo xtask bench queues`: each sync takes a millisecond longer, as on a
   disk that is slower than this one. Programs that make system calls by themselves are not slowed. */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

static void wait_a_millisecond(void)
{
    struct timespec rest = { 0, 1000000 };
    while (nanosleep(&rest, &rest) != 0) {
    }
}

int fsync(int file)
{
    wait_a_millisecond();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    wait_a_millisecond();
    return (int)syscall(SYS_fdatasync, file);
}
