/* An ordinary server of UDP: one socket on the wildcard address, answers by sendto. udp_server FAMILY(4|6) PORT */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    int six = argc > 1 && argv[1][0] == '6', port = argc > 2 ? atoi(argv[2]) : 0;
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_storage own;
    char question[512];

    memset(&own, 0, sizeof own);
    own.ss_family = six ? AF_INET6 : AF_INET;
    if (six)
        ((struct sockaddr_in6 *)&own)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&own)->sin_port = htons(port);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) != 0)
        return 1;
    for (;;) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        ssize_t got = recvfrom(fd, question, sizeof question, 0, (struct sockaddr *)&peer, &length);
        if (got >= 0)
            sendto(fd, question, got, 0, (struct sockaddr *)&peer, length);
    }
}
