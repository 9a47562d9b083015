/* libmodbus as a server of 2,000 registers for many clients, as its own example has it.  argv: the library, port.

   Its functions are found by name in the library, so that no header of it need be there. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <unistd.h>

static void *(*new_tcp)(const char *, int);
static void *(*mapping_new)(int, int, int, int);
static int (*tcp_listen)(void *, int), (*tcp_accept)(void *, int *), (*set_socket)(void *, int);
static int (*receive)(void *, uint8_t *), (*reply)(void *, const uint8_t *, int, void *);

static void *named(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "%s: not in libmodbus\n", name);
        exit(1);
    }
    return found;
}

int main(int argc, char **argv)
{
    void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library) {
        fprintf(stderr, "%s\n", argc == 3 ? dlerror() : "the library, port");
        return 1;
    }
    new_tcp = named(library, "modbus_new_tcp");
    mapping_new = named(library, "modbus_mapping_new");
    tcp_listen = named(library, "modbus_tcp_listen");
    tcp_accept = named(library, "modbus_tcp_accept");
    set_socket = named(library, "modbus_set_socket");
    receive = named(library, "modbus_receive");
    reply = named(library, "modbus_reply");
    void *context = new_tcp("127.0.0.1", atoi(argv[2])), *mapping = mapping_new(0, 0, 2000, 0);
    int listener = tcp_listen(context, 16), most = listener;
    if (listener < 0)
        return 1;
    fd_set all, ready;
    FD_ZERO(&all);
    FD_SET(listener, &all);
    puts("ready");
    fflush(stdout);
    for (;;) {
        ready = all;
        if (select(most + 1, &ready, NULL, NULL, NULL) < 0)
            return 1;
        for (int file = 0; file <= most; file++) {
            uint8_t query[260];
            if (!FD_ISSET(file, &ready))
                continue;
            if (file == listener) {
                int fresh = tcp_accept(context, &listener);
                if (fresh >= 0) {
                    FD_SET(fresh, &all);
                    most = fresh > most ? fresh : most;
                }
                continue;
            }
            set_socket(context, file);
            int size = receive(context, query);
            if (size > 0) {
                reply(context, query, size, mapping);
            } else if (size < 0) {
                close(file);
                FD_CLR(file, &all);
            }
        }
    }
}
