/* What a way costs: many bytes one way, and small questions one after the other. For `bench.forward` and
 * `bench.pmtu`.
 *
 * serve PORT                            sends back what it gets on PORT; on PORT + 1 it reads, and says nothing; on
 *                                       PORT + 2 it says 200,000 bytes
 * pour ADDRESS PORT STREAMS MEGABYTES   writes so much to a server that reads, and waits until it has read all; one line
 *                                       on standard output: seconds
 * ask ADDRESS PORT COUNT                so many questions of 64 bytes; one line: microseconds of each answer
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 18, EVENTS = 64, FDS = 4096, ANSWER = 200000 };
static char data[PIECE], sinks[FDS];
static int left[FDS];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int listening(int port) {
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, off = 0;
  struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(fd, (void *)&here, sizeof here) || listen(fd, 256)) fail("listen");
  return fd;
}

static void serve(int port) {
  int poll = epoll_create1(0), echo = listening(port), sink = listening(port + 1), source = listening(port + 2), on = 1;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = echo}, events[EVENTS];
  epoll_ctl(poll, EPOLL_CTL_ADD, echo, &event);
  event.data.fd = sink;
  epoll_ctl(poll, EPOLL_CTL_ADD, sink, &event);
  event.data.fd = source;
  epoll_ctl(poll, EPOLL_CTL_ADD, source, &event);
  for (;;) {
    int count = epoll_wait(poll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      int here = events[i].data.fd, fd;
      if (here == echo || here == sink || here == source) {
        while ((fd = accept4(here, 0, 0, SOCK_NONBLOCK)) >= 0) {
          if (fd >= FDS) exit(3);
          sinks[fd] = here == sink;
          left[fd] = here == source ? ANSWER : 0;
          event.events = here == source ? EPOLLOUT : EPOLLIN;
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          event.data.fd = fd;
          epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        }
        continue;
      }
      if (left[here]) {
        ssize_t sent = send(here, data, left[here], MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) left[here] -= sent;
        if (!left[here] || (sent < 0 && errno != EAGAIN)) close(here);
        continue;
      }
      ssize_t got = read(here, data, sizeof data);
      if (got <= 0 ? got == 0 || errno != EAGAIN : !sinks[here] && write(here, data, got) != got) close(here);
    }
  }
}

static int joined(const char *address, int port) {
  int six = strchr(address, ':') != 0, fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  inet_pton(six ? AF_INET6 : AF_INET, address, six ? (void *)&to6.sin6_addr : (void *)&to4.sin_addr);
  if (connect(fd, six ? (void *)&to6 : (void *)&to4, six ? sizeof to6 : sizeof to4)) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int pour(const char *address, int port, int streams, long megabytes) {
  struct pollfd_ { int fd; long left; } ways[EVENTS];
  int poll = epoll_create1(0), open = streams;
  struct epoll_event event = {.events = EPOLLOUT}, events[EVENTS];
  if (streams < 1 || streams > EVENTS) return 2;
  for (int i = 0; i < streams; i++) {
    ways[i].fd = joined(address, port), ways[i].left = (megabytes << 20) / streams, event.data.u32 = i;
    epoll_ctl(poll, EPOLL_CTL_ADD, ways[i].fd, &event);
  }
  double begun = now();
  while (open) {
    int count = epoll_wait(poll, events, EVENTS, 20000);
    if (count <= 0) fail("no progress");
    for (int i = 0; i < count; i++) {
      struct pollfd_ *way = &ways[events[i].data.u32];
      if (way->left > 0) {
        ssize_t sent = send(way->fd, data, way->left < PIECE ? way->left : PIECE, MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) fail("send");
        way->left -= sent > 0 ? sent : 0;
        if (way->left > 0) continue;
        shutdown(way->fd, SHUT_WR);
        event.events = EPOLLIN, event.data.u32 = events[i].data.u32;
        epoll_ctl(poll, EPOLL_CTL_MOD, way->fd, &event);
      } else { /* the server has read all and closes */
        if (read(way->fd, data, sizeof data) != 0) fail("the end");
        close(way->fd);
        open--;
      }
    }
  }
  printf("%.6f\n", now() - begun);
  return 0;
}

static int ask(const char *address, int port, int count) {
  int fd = joined(address, port);
  for (int i = 0; i < count; i++) {
    double asked = now();
    if (write(fd, data, 64) != 64) fail("write");
    for (ssize_t got = 0; got < 64;) {
      ssize_t more = read(fd, data, 64 - got);
      if (more <= 0) fail("read");
      got += more;
    }
    printf("%s%.1f", i ? " " : "", (now() - asked) * 1e6);
  }
  printf("\n");
  return 0;
}

int main(int count, char **words) {
  if (count == 3 && !strcmp(words[1], "serve")) serve(atoi(words[2]));
  if (count == 6 && !strcmp(words[1], "pour")) return pour(words[2], atoi(words[3]), atoi(words[4]), atol(words[5]));
  if (count == 5 && !strcmp(words[1], "ask")) return ask(words[2], atoi(words[3]), atoi(words[4]));
  fprintf(stderr, "serve PORT | pour ADDRESS PORT STREAMS MEGABYTES | ask ADDRESS PORT COUNT\n");
  return 2;
}
