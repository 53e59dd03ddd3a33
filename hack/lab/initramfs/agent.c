/* The agent of a lab guest: holds exactly as much touched memory as it is told over a serial line.
 *
 * It is two processes. The agent keeps the line and the clock, is locked in memory and exempt from the OOM killer; the
 * holder keeps the memory and is the OOM killer's first choice, so that a killed workload is evidence, not the end.
 *
 * Orders, one a line:        Events, one a line (TIME: guest milliseconds since boot):
 *   use MIB                    ready
 *   profile S:MIB ...          want TIME MIB     the workload asks for this much from now on
 *   loop S:MIB ...             held TIME MIB FAULTS   all of it is resident: touched in one pass without a major fault;
 *                                                     how many there were since it last was
 *   evidence                   lost TIME MIB MS  held until now; the pass that met major faults again took MS
 *   panic                      oom TIME COUNT    the holder was killed
 *   clutter COUNT              evidence OOM_KILL PSWPIN PSWPOUT PGMAJFAULT (of /proc/vmstat) OPERATIONS
 *   serve RATE                 cluttered TIME COUNT
 *   cold MIB                   cold TIME MIB
 *   files MIB                  files TIME MIB
 *
 * `clutter` makes empty files in memory. Their inodes cannot be given up, although the kernel counts them as available
 * (reclaimable slab): a guest that promises memory its balloon cannot get. One file more holds a quarter KiB for each of
 * them, which the balloon's statistics do not tell from page cache.
 *
 * `cold` has a further process hold memory that it touches once, and then a page of it a second: what was swapped out
 * of it trickles back.
 *
 * `files` has a further process read the beginning of the disk, and again each second: its page cache, which the guest
 * could give up, is in use. The disk is the swap, so what is read is of no meaning.
 *
 * `serve` has the holder do work in what it holds, RATE operations a second: each reads a page whole, checks its sum and
 * changes a word. What it did not come to within a tick is never done: nobody waits that long.
 *
 * `profile` is piecewise linear from its first point (second 0) and stays at its last; two points of the same second
 * make a step. `loop` starts over after its last point.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MIB (1UL << 20)
#define PAGE 4096UL
#define TICK_MS 250 /* finer than any statistics period, coarse enough to cost an emulated CPU nothing */
#define SLICE_MS 50 /* between two batches of operations: 20 wakes a second cost an emulated CPU 1 % */
#define TRICKLE_S 1
#define STRIDE 1031UL /* pages from one touch to the next: far beyond what the kernel reads ahead, and prime */
#define MAX_MIB 4096
#define MAX_POINTS 256

/* What the holder holds, whether a pass met no major fault, how long it took, and major faults since the last report. */
struct report { int mib; int resident; int ms; int faults; };
struct work { long rate; long done; }; /* operations a second that the holder is asked for, and all it has done */

static FILE *line;
static int orders[2], reports[2];
static volatile struct work *work; /* shared: what a killed holder has done counts */
static int want, told, holding = -1; /* MiB: wanted, last told to the holder, last event `held` */
static int faults; /* since then */
static int oom_kills;
static struct { double s, mib; } points[MAX_POINTS];
static int point_count, looping;
static long profile_start_ms;

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fprintf(stderr, "BALLAST-AGENT cannot write %s\n", path);
    if (fd >= 0)
        close(fd);
}

/* ---- the holder ---- */

static char *chunks[MAX_MIB];

static void touch(char *chunk)
{
    for (unsigned long at = 0; at < MIB; at += PAGE)
        (*(volatile unsigned *)(chunk + at))++;
}

static long major_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_majflt;
}

/* The first word of a page is `touch`'s, the second the sum of the others; a page that was never touched is right. */
static int operate(char *chunk, unsigned long random)
{
    volatile unsigned long *words = (unsigned long *)(chunk + random % (MIB / PAGE) * PAGE);
    const unsigned count = PAGE / sizeof *words;
    unsigned long sum = 0;
    for (unsigned i = 2; i < count; i++)
        sum += words[i];
    if (sum != words[1])
        return 0;
    words[2 + (random >> 16) % (count - 2)] += random;
    words[1] += random;
    return 1;
}

/* What has come due since the last batch. */
static void serve(int held)
{
    static unsigned long random = 88172645463325252UL; /* xorshift64, Marsaglia 2003 */
    static long last_ms;
    long now = now_ms(), due_ms = now - last_ms < TICK_MS ? now - last_ms : TICK_MS;
    last_ms = now;
    for (long left = held ? work->rate * due_ms / 1000 : 0; left > 0; left--) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        work->done += operate(chunks[(random >> 32) % held], random);
    }
}

/* Newest order, or `current` when there is none within `wait_ms`. */
static int next_order(int current, int wait_ms)
{
    struct pollfd ready = {.fd = orders[0], .events = POLLIN};
    while (poll(&ready, 1, wait_ms) > 0) {
        if (read(orders[0], &current, sizeof current) != sizeof current)
            _exit(1);
        wait_ms = 0;
    }
    return current;
}

/* Likewise, at work meanwhile. */
static int next_order_at_work(int current, int held)
{
    int order = current;
    for (long end = now_ms() + TICK_MS; order == current && now_ms() < end;) {
        serve(held);
        order = next_order(current, SLICE_MS);
    }
    return order;
}

static void hold(void)
{
    int goal = 0, held = 0;
    long reported = 0;
    write_file("/proc/self/oom_score_adj", "1000");
    for (;;) {
        if (held == goal && work->rate)
            goal = next_order_at_work(goal, held);
        else
            goal = next_order(goal, held == goal ? TICK_MS : 0);
        long before = major_faults(), began = now_ms();
        for (; held > goal; held--)
            munmap(chunks[held - 1], MIB);
        if (held < goal) {
            char *chunk = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (chunk == MAP_FAILED)
                continue;
            touch(chunks[held++] = chunk);
            if (held < goal)
                continue;
        }
        for (int i = 0; i < held; i++) /* a workload uses its memory: what was swapped out comes back */
            touch(chunks[i]);
        long faults = major_faults();
        struct report report = {held, faults == before, now_ms() - began, faults - reported};
        reported = faults;
        if (write(reports[1], &report, sizeof report) < 0)
            _exit(1);
    }
}

static pid_t start_holder(void)
{
    if (pipe(orders) || pipe(reports))
        _exit(1);
    pid_t pid = fork();
    if (pid == 0)
        hold();
    told = 0;
    holding = -1;
    return pid;
}

static pid_t restart_holder(void)
{
    close(orders[0]), close(orders[1]), close(reports[0]), close(reports[1]);
    fprintf(line, "oom %ld %d\n", now_ms(), ++oom_kills);
    want = point_count = 0; /* a killed workload is gone until it is ordered anew */
    dprintf(STDERR_FILENO, "BALLAST-OOM %d\n", oom_kills);
    return start_holder();
}

/* ---- the agent ---- */

static int profile_mib(void)
{
    double length = points[point_count - 1].s, t = (now_ms() - profile_start_ms) / 1000.0;
    if (looping && length > 0)
        t -= length * (long)(t / length);
    int i = 0;
    while (i + 1 < point_count && points[i + 1].s <= t)
        i++;
    if (i + 1 == point_count)
        return points[i].mib;
    double share = (t - points[i].s) / (points[i + 1].s - points[i].s);
    return points[i].mib + share * (points[i + 1].mib - points[i].mib);
}

static void read_profile(char *text, int loop)
{
    point_count = 0;
    looping = loop;
    profile_start_ms = now_ms();
    for (char *word = strtok(text, " "); word && point_count < MAX_POINTS; word = strtok(NULL, " "))
        if (sscanf(word, "%lf:%lf", &points[point_count].s, &points[point_count].mib) == 2)
            point_count++;
}

static long vmstat(const char *name)
{
    char key[64];
    long value, found = 0;
    FILE *file = fopen("/proc/vmstat", "r");
    while (file && fscanf(file, "%63s %ld", key, &value) == 2)
        if (!strcmp(key, name))
            found = value;
    if (file)
        fclose(file);
    return found;
}

static void clutter(int count)
{
    char path[32];
    mkdir("/clutter", 0700);
    mount("none", "/clutter", "tmpfs", 0, "nr_inodes=0");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/clutter/%d", i);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    int data = open("/clutter/data", O_CREAT | O_WRONLY, 0600);
    posix_fallocate(data, 0, 256L * count);
    close(data);
    fprintf(line, "cluttered %ld %d\n", now_ms(), count);
}

static void cold(int mib)
{
    unsigned long pages = mib * MIB / PAGE;
    char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    for (unsigned long at = 0; at < pages * PAGE; at += PAGE)
        *(volatile unsigned *)(memory + at) = at;
    if (fork() == 0) {
        write_file("/proc/self/oom_score_adj", "0");
        for (unsigned long page = 0;; page = (page + STRIDE) % pages) {
            sleep(TRICKLE_S);
            (*(volatile unsigned *)(memory + page * PAGE))++;
        }
    }
    munmap(memory, pages * PAGE);
    fprintf(line, "cold %ld %d\n", now_ms(), mib);
}

static int read_disk(int mib)
{
    static char buffer[MIB];
    int disk = open("/dev/vda", O_RDONLY), found = 0;
    while (found < mib && read(disk, buffer, MIB) == MIB)
        found++;
    close(disk);
    return found;
}

static void files(int mib)
{
    fprintf(line, "files %ld %d\n", now_ms(), read_disk(mib));
    if (fork() == 0)
        for (;;) {
            sleep(TRICKLE_S);
            read_disk(mib);
        }
}

static void obey(char *order)
{
    if (!strncmp(order, "use ", 4)) {
        point_count = 0;
        want = atoi(order + 4);
        told = -1; /* even an unchanged amount is confirmed */
    } else if (!strncmp(order, "profile ", 8)) {
        read_profile(order + 8, 0);
    } else if (!strncmp(order, "loop ", 5)) {
        read_profile(order + 5, 1);
    } else if (!strcmp(order, "evidence")) {
        fprintf(line, "evidence %ld %ld %ld %ld %ld\n", vmstat("oom_kill"), vmstat("pswpin"), vmstat("pswpout"),
                vmstat("pgmajfault"), work->done);
    } else if (!strncmp(order, "serve ", 6)) {
        work->rate = atol(order + 6);
    } else if (!strncmp(order, "clutter ", 8)) {
        clutter(atoi(order + 8));
    } else if (!strncmp(order, "cold ", 5)) {
        cold(atoi(order + 5));
    } else if (!strncmp(order, "files ", 6)) {
        files(atoi(order + 6));
    } else if (!strcmp(order, "panic")) {
        write_file("/proc/sysrq-trigger", "c");
    }
}

static void tell_holder(void)
{
    if (point_count)
        want = profile_mib();
    if (want < 0 || want > MAX_MIB)
        want = want < 0 ? 0 : MAX_MIB;
    if (want == told)
        return;
    told = want;
    holding = -1;
    fprintf(line, "want %ld %d\n", now_ms(), want);
    if (write(orders[1], &want, sizeof want) < 0)
        dprintf(STDERR_FILENO, "BALLAST-AGENT lost its holder\n");
}

static void hear_holder(void)
{
    struct report report;
    if (read(reports[0], &report, sizeof report) != sizeof report)
        return;
    faults += report.faults;
    if (report.mib != told)
        return;
    if (report.resident && holding != told) {
        holding = told;
        fprintf(line, "held %ld %d %d\n", now_ms(), holding, faults);
        faults = 0;
    } else if (!report.resident && holding == told) {
        holding = -1;
        fprintf(line, "lost %ld %d %d\n", now_ms(), told, report.ms);
    }
}

static void hear_orders(int fd)
{
    static char buffer[8192];
    static size_t used;
    ssize_t got = read(fd, buffer + used, sizeof buffer - 1 - used);
    if (got <= 0)
        return;
    used += got;
    buffer[used] = 0;
    for (char *end; (end = strchr(buffer, '\n'));) {
        *end = 0;
        obey(buffer);
        used -= end + 1 - buffer;
        memmove(buffer, end + 1, used + 1);
    }
    if (used == sizeof buffer - 1)
        used = 0; /* no order is this long: drop it */
}

int main(int count, char **arguments)
{
    int fd = open(count > 1 ? arguments[1] : "/dev/ttyS1", O_RDWR | O_NOCTTY);
    struct termios raw;
    if (fd < 0 || tcgetattr(fd, &raw))
        return 1;
    cfmakeraw(&raw);
    cfsetspeed(&raw, B115200);
    tcsetattr(fd, TCSANOW, &raw);
    line = fdopen(dup(fd), "w");
    setvbuf(line, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    write_file("/proc/self/oom_score_adj", "-1000");
    work = mmap(NULL, sizeof *work, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (work == MAP_FAILED)
        return 1;
    mlockall(MCL_CURRENT);
    pid_t holder = start_holder();
    fprintf(line, "ready\n");
    for (;;) {
        struct pollfd ready[] = {{.fd = fd, .events = POLLIN}, {.fd = reports[0], .events = POLLIN}};
        poll(ready, 2, TICK_MS);
        if (ready[0].revents & POLLIN)
            hear_orders(fd);
        if (waitpid(-1, NULL, WNOHANG) == holder)
            holder = restart_holder();
        else if (ready[1].revents & POLLIN)
            hear_holder();
        tell_holder();
    }
}
