/* A network link of some length, for specs: two tun devices, one here and one in a network
 * namespace of its own, and frames that are handed from one to the other late, or never. So TCP
 * itself sees the delay, the loss and the rate. It says "ready" when the link is up; the far end is
 * this process's own namespace (nsenter --net=/proc/PID/ns/net). Everything ends with the process.
 *   tunlink NEAR FAR MS [LOSS [RATE [MTU]]]   IPv4 addresses; delay each way; frames lost of a
 *                                             million; bytes per second each way, 0 for no bound
 * It goes before all other work of the machine, or a busy one would make the link longer.
 * SIGUSR1 makes it lose every frame (as a pulled plug does), or deliver them again. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { FRAMES = 1 << 16, LARGEST = 65536, TXQUEUE = 10000 };
static const int64_t LONGEST_QUEUE =
    100 * 1000000; /* ns that a frame may wait for a bounded link */

struct frame {
  int64_t due;
  int size;
  unsigned char bytes[];
};

struct way {
  int from, to;
  uint32_t first, count;
  int64_t free; /* when the link can take the next frame */
  struct frame *frames[FRAMES];
};

static volatile sig_atomic_t unplugged;
static int64_t delay, rate;
static long loss;

static void on_signal(int number) {
  (void)number;
  unplugged = !unplugged;
}

static void fail(const char *what) {
  fprintf(stderr, "tunlink: %s: %s\n", what, strerror(errno));
  exit(69);
}

/* Nanoseconds of a clock that nobody sets. */
static int64_t now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

/* Sets an address of the device. */
static void set_address(int fd, struct ifreq *device, unsigned long what, const char *text) {
  struct sockaddr_in *address = (struct sockaddr_in *)&device->ifr_addr;
  memset(address, 0, sizeof *address);
  address->sin_family = AF_INET;
  if (inet_pton(AF_INET, text, &address->sin_addr) != 1 || ioctl(fd, what, device)) fail(text);
}

/* Brings a device up. */
static void up(int fd, struct ifreq *device) {
  if (ioctl(fd, SIOCGIFFLAGS, device)) fail("flags");
  device->ifr_flags |= IFF_UP | IFF_RUNNING;
  if (ioctl(fd, SIOCSIFFLAGS, device)) fail("up");
}

/* Makes a tun device in the namespace that the process is in; gives its descriptor. */
static int make_device(const char *own, const char *other, int mtu) {
  struct ifreq device = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (tun < 0 || fd < 0) fail("/dev/net/tun");
  if (ioctl(tun, TUNSETIFF, &device)) fail("tun");
  set_address(fd, &device, SIOCSIFADDR, own);
  set_address(fd, &device, SIOCSIFDSTADDR, other);
  device.ifr_mtu = mtu;
  if (ioctl(fd, SIOCSIFMTU, &device)) fail("mtu");
  device.ifr_qlen = TXQUEUE;
  if (ioctl(fd, SIOCSIFTXQLEN, &device)) fail("queue");
  up(fd, &device);
  close(fd);
  return tun;
}

/* The far namespace talks to itself, too. */
static void loopback_up(void) {
  struct ifreq device = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  up(fd, &device);
  close(fd);
}

/* Takes all frames that are there. */
static void take(struct way *way) {
  static unsigned char bytes[LARGEST];
  while (way->count < FRAMES) {
    ssize_t size = read(way->from, bytes, sizeof bytes);
    if (size <= 0) return;
    int64_t at = now();
    if (way->free < at) way->free = at;
    if (unplugged || (loss && random() % 1000000 < loss)) continue;
    if (rate && way->free - at > LONGEST_QUEUE) continue;
    if (rate) way->free += size * INT64_C(1000000000) / rate;
    struct frame *frame = malloc(sizeof *frame + (size_t)size);
    if (!frame) fail("memory");
    frame->due = way->free + delay;
    frame->size = (int)size;
    memcpy(frame->bytes, bytes, (size_t)size);
    way->frames[(way->first + way->count++) % FRAMES] = frame;
  }
}

/* Hands on the frames that are due; gives when the next one is, or -1. */
static int64_t give(struct way *way) {
  while (way->count) {
    struct frame *frame = way->frames[way->first];
    if (frame->due > now()) return frame->due;
    if (!unplugged && write(way->to, frame->bytes, (size_t)frame->size) < 0 && errno == EAGAIN) {
      return now() + 1000000;
    }
    free(frame);
    way->first = (way->first + 1) % FRAMES;
    way->count--;
  }
  return -1;
}

int main(int count, char **words) {
  static struct way there, back;
  if (count < 4) return 64;
  delay = (int64_t)(atof(words[3]) * 1e6);
  loss = count > 4 ? atol(words[4]) : 0;
  rate = count > 5 ? atoll(words[5]) : 0;
  int mtu = count > 6 ? atoi(words[6]) : 1500;
  prctl(PR_SET_TIMERSLACK, 1);
  sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}); /* if it may */
  signal(SIGUSR1, on_signal);
  there.from = back.to = make_device(words[1], words[2], mtu);
  if (unshare(CLONE_NEWNET)) fail("network namespace");
  there.to = back.from = make_device(words[2], words[1], mtu);
  loopback_up();
  puts("ready");
  fflush(stdout);
  for (;;) {
    int64_t a = give(&there), b = give(&back), next = a < 0 || (b >= 0 && b < a) ? b : a;
    int64_t left = next < 0 ? 1000000000 : next - now();
    if (left < 0) left = 0;
    struct timespec wait = {left / 1000000000, left % 1000000000};
    struct pollfd ends[] = {{there.from, POLLIN, 0}, {back.from, POLLIN, 0}};
    ppoll(ends, 2, &wait, NULL);
    take(&there);
    take(&back);
  }
}
