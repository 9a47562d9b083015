/* The clock of an i386 program, passing FASTER times as fast as the host's; every wait is so much shorter.
 *
 * Preloaded into the 32-bit MicroPython (faster.py).  It stands alone, without a C library's headers: where this is built
 * there may be none for i386.  Clocks begin at the host's time and go on from there.
 */

#ifndef FASTER
#define FASTER 8
#endif

struct timespec { long sec, nsec; };
struct timeval { long sec, usec; };

enum { NR_SELECT = 142, NR_NANOSLEEP = 162, NR_POLL = 168, NR_CLOCK_GETTIME = 265, CLOCKS = 2 };

static struct timespec began[CLOCKS]; /* of the real time and of the monotonic clock, when it was first asked */

extern int *__errno_location(void);

static long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    if (result < 0 && result > -4096) {
        *__errno_location() = -(int)result;
        return -1;
    }
    return result;
}

int clock_gettime(int id, struct timespec *at)
{
    struct timespec *from;
    long us;
    int result = (int)call(NR_CLOCK_GETTIME, id, (long)at, 0, 0, 0);
    if (result || id < 0 || id >= CLOCKS)
        return result;
    from = &began[id];
    if (from->sec == 0)
        *from = *at;
    at->sec -= from->sec;
    us = (at->nsec - from->nsec) / 1000;
    if (us < 0) {
        us += 1000000;
        at->sec--;
    }
    us = us * FASTER + from->nsec / 1000;
    at->sec = at->sec * FASTER + from->sec + us / 1000000;
    at->nsec = us % 1000000 * 1000;
    return 0;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(0, &now);
    at->sec = now.sec;
    at->usec = now.nsec / 1000;
    return 0;
}

long time(long *at)
{
    struct timespec now;
    clock_gettime(0, &now);
    if (at)
        *at = now.sec;
    return now.sec;
}

int usleep(unsigned us)
{
    struct timespec wait = {(long)(us / FASTER / 1000000), (long)(us / FASTER % 1000000 * 1000)};
    return (int)call(NR_NANOSLEEP, (long)&wait, 0, 0, 0, 0);
}

int select(int n, void *in, void *out, void *other, struct timeval *most)
{
    struct timeval wait, *given = 0;
    if (most) {
        wait.usec = (most->sec % FASTER * 1000000 + most->usec) / FASTER;
        wait.sec = most->sec / FASTER;
        given = &wait;
    }
    return (int)call(NR_SELECT, n, (long)in, (long)out, (long)other, (long)given);
}

int poll(void *files, unsigned long n, int ms)
{
    return (int)call(NR_POLL, (long)files, (long)n, ms > 0 ? (ms + FASTER - 1) / FASTER : ms, 0, 0);
}
