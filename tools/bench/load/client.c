/* So many Modbus/TCP clients, each of which asks for registers again as soon as it is answered, in one process.

   argv: port, first register, how many, clients, seconds.  Prints answers a second and the 50th and 99th percentile of
   the time from a request to its answer, us.  Exit code 1, with a word of why, for anything but the answer. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64, KEPT = 4000000 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    return 1;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return fail("port, first register, how many, clients, seconds");
    int port = atoi(argv[1]), first = atoi(argv[2]), count = atoi(argv[3]), clients = atoi(argv[4]);
    double seconds = atof(argv[5]);
    unsigned char request[12] = {0, 1, 0, 0, 0, 6, 1, 3, first >> 8, first & 255, 0, count}, answer[512];
    struct pollfd files[MOST];
    double asked[MOST];
    int have[MOST] = {0};
    float *took = malloc(KEPT * sizeof *took);
    if (clients < 1 || clients > MOST || !took)
        return fail("1 to 64 clients");
    for (int i = 0; i < clients; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int one = 1, file = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(file, (struct sockaddr *)&to, sizeof to))
            return fail("cannot connect");
        setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        files[i] = (struct pollfd){file, POLLIN, 0};
    }
    double begun = now_us(), end = begun + seconds * 1e6, last = begun;
    for (int i = 0; i < clients; i++) {
        asked[i] = now_us();
        if (write(files[i].fd, request, 12) != 12)
            return fail("cannot ask");
    }
    long answers = 0;
    while (last < end && answers < KEPT) {
        if (poll(files, clients, 3000) <= 0)
            return fail("no answer for 3 s");
        for (int i = 0; i < clients && answers < KEPT; i++) {
            if (!files[i].revents)
                continue;
            int got = read(files[i].fd, answer, sizeof answer);
            if (got <= 0)
                return fail("closed");
            if (!have[i] && got > 7 && answer[7] != 3)
                return fail("refused");
            have[i] += got;
            if (have[i] < 9 + 2 * count)
                continue;
            have[i] = 0;
            last = now_us();
            took[answers++] = last - asked[i];
            asked[i] = last;
            if (write(files[i].fd, request, 12) != 12)
                return fail("cannot ask");
        }
    }
    qsort(took, answers, sizeof *took, by_size);
    printf("%.1f %.1f %.1f\n", answers * 1e6 / (last - begun), took[answers / 2], took[answers * 99 / 100]);
    return 0;
}
