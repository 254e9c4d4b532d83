/* Many TCP connections that talk all the time, and the server that they talk to. For `bench.connections`.
 *
 * serve PORT    says its host name (32 bytes) to whoever connects, then sends back what it gets
 * drive ADDRESS PORT COUNT EVERY_MS LIFE_MS
 *               keeps COUNT connections, each asks every EVERY_MS and is closed and made anew after LIFE_MS at most (0:
 *               never). When all are there, and on each line of standard input, it writes one: NAME WHOLE BROKEN for
 *               each name. It ends with its input.
 *
 * A connection is broken when it was closed or reset by the other side, or has had no answer for 5 s.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NAME = 32, QUESTION = 8, EVENTS = 512, NAMES = 64, LOOKS = 50 };
static const double PATIENCE_S = 5;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void serve(int port) {
  int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, off = 0, poll = epoll_create1(0);
  struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
  char name[NAME] = {0}, data[65536];
  if (getenv("NAME")) strncpy(name, getenv("NAME"), NAME - 1);
  else gethostname(name, NAME - 1);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(listener, (void *)&here, sizeof here) || listen(listener, 4096)) fail("listen");
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(poll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          if (write(fd, name, NAME) != NAME) close(fd);
          else {
            event.data.fd = fd;
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
          }
        }
        continue;
      }
      ssize_t got = read(fd, data, sizeof data);
      if (got > 0 ? write(fd, data, got) != got : got == 0 || errno != EAGAIN) close(fd);
    }
  }
}

struct flow {
  int fd, named, owed, late; /* owed: bytes of the answer that are missing; late: looks since its patience ended */
  char name[NAME + 1];
  double asked, next, until; /* asked: when; next: when it asks again; until: when it is closed */
};

static struct flow *flows;
static int total, starting, poll_fd, is_six;
static double every_s, life_s;
static struct sockaddr_storage there;
static struct { char name[NAME + 1]; int whole, broken; } names[NAMES];
static int known;

static int name_of(const char *name) {
  int k = 0;
  while (k < known && strcmp(names[k].name, name)) k++;
  if (k == NAMES) exit(3);
  if (k == known) strcpy(names[known++].name, name);
  return k;
}

static void tell(void) {
  for (int k = 0; k < known; k++) names[k].whole = 0;
  for (int i = 0; i < total; i++)
    if (flows[i].fd >= 0 && flows[i].named == NAME) names[name_of(flows[i].name)].whole++;
  for (int k = 0; k < known; k++)
    printf("%s%s %d %d", k ? " " : "", names[k].name[0] ? names[k].name : "-", names[k].whole, names[k].broken);
  printf("\n");
  fflush(stdout);
}

static void open_one(int i) {
  struct flow *flow = &flows[i];
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
  memset(flow, 0, sizeof *flow);
  flow->fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (flow->fd < 0) fail("socket");
  if (connect(flow->fd, (void *)&there, is_six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)) &&
      errno != EINPROGRESS)
    fail("connect");
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, flow->fd, &event);
  flow->asked = now();
  starting++;
}

/* Whatever a name has lost: of connections that never told one, it is empty. */
static void end(struct flow *flow, int is_broken) {
  close(flow->fd);
  if (flow->named < NAME) starting--;
  flow->fd = -1;
  if (is_broken) names[name_of(flow->named == NAME ? flow->name : "")].broken++;
}

static void hear(int i, double time) {
  struct flow *flow = &flows[i];
  char data[4096];
  ssize_t bytes = read(flow->fd, data, sizeof data);
  if (bytes < 0 && errno == EAGAIN) return;
  if (bytes <= 0) {
    end(flow, 1);
    return;
  }
  for (ssize_t at = 0; at < bytes; at++) {
    if (flow->named == NAME) {
      flow->owed--;
      continue;
    }
    flow->name[flow->named++] = data[at];
    if (flow->named == NAME) {
      int on = 1;
      setsockopt(flow->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      starting--;
      flow->next = time + every_s * (i % 100) / 100;
      flow->until = life_s ? time + life_s * (50 + i % 51) / 100 : 0;
    }
  }
}

static int drive(int port, const char *address) {
  int opened = 0, told = 0;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = total}, events[EVENTS];
  struct sockaddr_in *four = (void *)&there;
  struct sockaddr_in6 *six = (void *)&there;
  is_six = strchr(address, ':') != 0;
  if (is_six) {
    six->sin6_family = AF_INET6, six->sin6_port = htons(port);
    inet_pton(AF_INET6, address, &six->sin6_addr);
  } else {
    four->sin_family = AF_INET, four->sin_port = htons(port);
    inet_pton(AF_INET, address, &four->sin_addr);
  }
  poll_fd = epoll_create1(0);
  flows = calloc(total, sizeof *flows);
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &event);
  for (;;) {
    /* the queue of connections that a server has not accepted yet is short */
    while (opened < total && starting < 100) open_one(opened++);
    int got = epoll_wait(poll_fd, events, EVENTS, 10);
    double time = now();
    for (int i = 0; i < got; i++) {
      char word[64];
      if (events[i].data.u32 != (unsigned)total) {
        if (flows[events[i].data.u32].fd >= 0) hear(events[i].data.u32, time);
      } else if (read(0, word, sizeof word) <= 0) return 0;
      else tell();
    }
    if (opened == total && !starting && !told) told = 1, tell();
    if (got == EVENTS) continue; /* there is more to hear, before anybody is said to have been silent */
    for (int i = 0; i < opened; i++) {
      struct flow *flow = &flows[i];
      if (flow->fd < 0) {
        if (life_s && starting < 100) open_one(i);
      } else if (flow->named < NAME || flow->owed > 0) {
        /* a machine that stood still for seconds has stopped us as well: what has come meanwhile is heard first */
        if (time - flow->asked > PATIENCE_S && ++flow->late > LOOKS) end(flow, 1);
      } else if (flow->until && time >= flow->until) {
        end(flow, 0);
      } else if (time >= flow->next) {
        flow->owed = QUESTION, flow->late = 0, flow->asked = time, flow->next = time + every_s;
        if (write(flow->fd, "question", QUESTION) != QUESTION) end(flow, 1);
      }
    }
  }
}

int main(int count, char **words) {
  struct rlimit most;
  getrlimit(RLIMIT_NOFILE, &most);
  most.rlim_cur = most.rlim_max;
  setrlimit(RLIMIT_NOFILE, &most);
  signal(SIGPIPE, SIG_IGN); /* one connection that was reset is no reason to end all others */
  if (count == 3 && !strcmp(words[1], "serve")) serve(atoi(words[2]));
  if (count == 7 && !strcmp(words[1], "drive")) {
    total = atoi(words[4]), every_s = atoi(words[5]) / 1000.0, life_s = atoi(words[6]) / 1000.0;
    return drive(atoi(words[3]), words[2]);
  }
  fprintf(stderr, "serve PORT | drive ADDRESS PORT COUNT EVERY_MS LIFE_MS\n");
  return 2;
}
