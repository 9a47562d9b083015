/* A plugin of QEMU 7.2's user-mode emulator: holds the guest to `mips` million instructions a second, as a chip runs.
 *
 * Options: mips=125; gc_at, gc_bytes and gc_end: where the interpreter's collector begins (offset in its page), the six
 * bytes there and how far on it ends; gc_percent: what its instructions cost, 100 in fast memory.
 *
 * Chip time is (instructions counted) / mips + (what was padded).  Whenever it is ahead of the clock the thread sleeps:
 * every 250 us of it and before every system call, so nothing that the guest does or reads comes too early.  A thread
 * that is late (the host was busy, blocks were translated) catches up, as the clock is absolute; time spent waiting in
 * a system call is the clock's, not the guest's, and earns nothing.
 *
 * The guest speaks by loading a number of its own into a register (an ordinary instruction everywhere else):
 * SIGNAL + 1 uncounted from here, + 2 counted again (both nest), + 3 and + 4 a bit 0 or 1 of a number, lowest first,
 * + 5 that number of microseconds passes.  It and the host read the counts from file descriptor RECORDS_FD.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define SIGNAL 0x2c5ea500u
#define RECORDS_FD 222
#define THREADS 64
#define MAGIC 0x31656361502e5053ull /* "SP.Pace1" */
#define SPIN_NS 60000               /* a sleep ends this much late, so the last of it is spun away */
#define WAITED_NS 100000            /* a system call that took longer has waited */
#define CATCH_UP_NS 250000000       /* a guest later than this is not a slow moment of the host any more */

typedef uint64_t plugin_id;
struct block;
struct instruction;
extern void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned));
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct block *, void (*)(unsigned, void *), int flags, void *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct instruction *, void (*)(unsigned, void *), int flags, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t number, uint64_t, uint64_t,
                                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_vcpu_syscall_ret_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t number, int64_t));
extern size_t qemu_plugin_tb_n_insns(const struct block *);
extern uint64_t qemu_plugin_tb_vaddr(const struct block *);
extern struct instruction *qemu_plugin_tb_get_insn(const struct block *, size_t);
extern const void *qemu_plugin_insn_data(const struct instruction *);
extern size_t qemu_plugin_insn_size(const struct instruction *);

API int qemu_plugin_version = 1;

/* what RECORDS_FD holds for each thread; tools/sim/board/chip/record.py reads the same */
struct record {
    uint64_t counted, chip_us, magic, uncounted, padded_ns, late_max_ns, given_up_ns, waited_ns;
    uint64_t depth, collections, gc_counted, gc_ns, gc_max_ns, spare[3];
};

struct thread {
    uint64_t executed, look_at; /* every instruction so far; when to look at the clock next */
    uint64_t uncounted_from, base_ns, entered_ns, number, bits, gc_from;
    bool started, in_gc;
    struct record *record;
};

static struct thread threads[THREADS];
static struct record *records;
static uint64_t mips = 125, gc_at = ~0ull, gc_bytes, gc_end, gc_percent = 100, gc_vaddr;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* The chip's clock: what the host's shows when the guest is neither early nor late. */
static uint64_t due_ns(struct thread *t) {
    struct record *r = t->record;
    uint64_t open = r->depth ? t->executed - t->uncounted_from : 0;
    r->counted = t->executed - r->uncounted - open;
    uint64_t due = t->base_ns + r->counted * 1000 / mips + r->padded_ns;
    r->chip_us = due / 1000;
    return due;
}

/* Waits until the clock has come as far as the guest.  The time it is then. */
static uint64_t keep_pace(struct thread *t) {
    uint64_t now = now_ns(), due;
    if (!t->started) { /* base_ns may lie before the clock's zero: unsigned arithmetic wraps back */
        t->started = true;
        t->base_ns += now - due_ns(t);
    }
    due = due_ns(t);
    t->look_at = t->executed + mips * 250;
    if (now >= due) {
        uint64_t late = now - due;
        if (late > t->record->late_max_ns)
            t->record->late_max_ns = late;
        if (late > CATCH_UP_NS) {
            t->base_ns += late - CATCH_UP_NS;
            t->record->given_up_ns += late - CATCH_UP_NS;
        }
        return now;
    }
    while (due > now + SPIN_NS) {
        uint64_t wake = due - SPIN_NS;
        struct timespec until = {wake / 1000000000, wake % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        now = now_ns();
    }
    while (due > now)
        now = now_ns();
    return now;
}

static void on_block(unsigned cpu, void *instructions) {
    struct thread *t = &threads[cpu % THREADS];
    t->executed += (uintptr_t)instructions;
    if (t->executed >= t->look_at && !(t->in_gc && gc_percent < 100)) /* how long it takes the chip is known at its end */
        keep_pace(t);
}

static void on_signal(unsigned cpu, void *which) {
    struct thread *t = &threads[cpu % THREADS];
    struct record *r = t->record;
    switch ((uintptr_t)which) {
    case 1:
        if (r->depth++ == 0)
            t->uncounted_from = t->executed;
        break;
    case 2:
        if (r->depth && --r->depth == 0)
            r->uncounted += t->executed - t->uncounted_from;
        break;
    case 3:
    case 4:
        t->number |= ((uintptr_t)which - 3) << (t->bits++ & 31);
        break;
    case 5:
        r->padded_ns += t->number * 1000;
        t->number = t->bits = 0;
        keep_pace(t);
    }
}

/* A collection is the chip's work, also where an uncounted module happened to set it off. */
static void on_collection(unsigned cpu, void *ends) {
    struct thread *t = &threads[cpu % THREADS];
    struct record *r = t->record;
    if (!ends) {
        t->gc_from = t->executed;
        t->in_gc = true;
    } else if (t->in_gc) {
        uint64_t counted = t->executed - t->gc_from, ns = counted * 10 * gc_percent / mips;
        t->in_gc = false;
        if (r->depth)
            t->uncounted_from += counted;
        r->padded_ns += ns - counted * 1000 / mips;
        r->collections++;
        r->gc_counted += counted;
        r->gc_ns += ns;
        if (ns > r->gc_max_ns)
            r->gc_max_ns = ns;
        keep_pace(t);
    }
}

static void on_translation(plugin_id id, struct block *block) {
    size_t count = qemu_plugin_tb_n_insns(block);
    uint64_t vaddr = qemu_plugin_tb_vaddr(block), begins = 0;
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, on_block, 0, (void *)count);
    for (size_t i = 0; i < count; i++) {
        struct instruction *instruction = qemu_plugin_tb_get_insn(block, i);
        const uint8_t *bytes = qemu_plugin_insn_data(instruction);
        size_t size = qemu_plugin_insn_size(instruction);
        uint32_t value;
        if (i == 0 && size == 1)
            begins = bytes[0];
        if (size != 5)
            continue;
        memcpy(&value, bytes + 1, 4);
        if ((bytes[0] & 0xf8) == 0xb8 && value - SIGNAL - 1 < 5) /* mov r32, imm32 */
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_signal, 0, (void *)(uintptr_t)(value - SIGNAL));
        if (i == 1 && (vaddr & 0xfff) == gc_at && (begins | (uint64_t)bytes[0] << 8 | (uint64_t)value << 16) == gc_bytes) {
            gc_vaddr = vaddr;
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_collection, 0, NULL);
        }
    }
    if (gc_vaddr && vaddr == gc_vaddr + gc_end)
        qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(block, 0), on_collection, 0, (void *)1);
}

static void on_call(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                    uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    struct thread *t = &threads[cpu % THREADS];
    (void)id, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    t->entered_ns = keep_pace(t);
    if (number == 3 && a1 == RECORDS_FD) /* read: this thread's record, from its beginning */
        lseek(RECORDS_FD, (cpu % THREADS) * sizeof(struct record), SEEK_SET);
}

/* Calls of i386 that ask the host for something it does at once; what they take is caught up with afterwards. */
static bool waits(int64_t number, bool counted) {
    switch (number) {
    case 13: case 78: case 265: case 403:                                     /* the clocks */
    case 5: case 6: case 10: case 19: case 38: case 39: case 40: case 140:   /* files: open close unlink lseek ... */
    case 106: case 107: case 108: case 118: case 148: case 183: case 195: case 196: case 197: case 220: case 221:
    case 295: case 300: case 383:
    case 45: case 90: case 91: case 125: case 192:                            /* memory */
        return false;
    case 3: case 4: case 145: case 146: case 180: case 181:                   /* read, write: of a file, if uncounted */
        return counted;
    }
    return true;
}

static void on_return(plugin_id id, unsigned cpu, int64_t number, int64_t result) {
    struct thread *t = &threads[cpu % THREADS];
    uint64_t now = now_ns(), due = due_ns(t);
    (void)id, (void)result;
    if (now - t->entered_ns < WAITED_NS || !waits(number, t->record->depth == 0))
        return;
    t->record->waited_ns += now - t->entered_ns;
    if (now > due)
        t->base_ns += now - due;
}

static void on_thread(plugin_id id, unsigned cpu) {
    struct thread *t = &threads[cpu % THREADS];
    (void)id;
    memset(t, 0, sizeof *t);
    t->record = &records[cpu % THREADS];
    memset(t->record, 0, sizeof *t->record);
    t->record->magic = MAGIC;
}

static uint64_t number_of(const char *text) {
    uint64_t value = 0;
    int base = 10;
    if (text[0] == '0' && text[1] == 'x')
        base = 16, text += 2;
    for (; *text; text++)
        value = value * base + (*text <= '9' ? *text - '0' : (*text | 32) - 'a' + 10);
    return value;
}

static bool option(const char *argument, const char *name, uint64_t *value) {
    size_t size = strlen(name);
    if (strncmp(argument, name, size) || argument[size] != '=')
        return false;
    *value = number_of(argument + size + 1);
    return true;
}

API int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    int fd = memfd_create("pace", 0);
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!option(argv[i], "mips", &mips) && !option(argv[i], "gc_at", &gc_at) && !option(argv[i], "gc_bytes", &gc_bytes) &&
            !option(argv[i], "gc_end", &gc_end) && !option(argv[i], "gc_percent", &gc_percent))
            return 1;
    if (!mips || fd < 0 || dup2(fd, RECORDS_FD) < 0 || ftruncate(RECORDS_FD, THREADS * sizeof(struct record)))
        return 1;
    close(fd);
    records = mmap(NULL, THREADS * sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, RECORDS_FD, 0);
    if (records == MAP_FAILED)
        return 1;
    for (unsigned i = 0; i < THREADS; i++)
        threads[i].record = &records[i];
    prctl(PR_SET_TIMERSLACK, 1); /* threads inherit it */
    qemu_plugin_register_vcpu_init_cb(id, on_thread);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_call);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, on_return);
    return 0;
}
