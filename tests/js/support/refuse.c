// refuse ERRNO CALL PROGRAM [ARGUMENT...]: runs a program under a seccomp filter that answers one system call with an error,
// as containers do with calls that their profile does not know. Everything that the program starts is under it too.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
  const char *name;
  unsigned number;
} calls[] = {
    {"close_range", SYS_close_range},       {"epoll_pwait2", 441},
    {"execveat", SYS_execveat},             {"faccessat2", 439},
    {"fallocate", SYS_fallocate},
    {"memfd_create", SYS_memfd_create},     {"openat2", SYS_openat2},
    {"pidfd_open", SYS_pidfd_open},         {"pidfd_send_signal", SYS_pidfd_send_signal},
    {"preadv2", SYS_preadv2},               {"prlimit64", SYS_prlimit64},
    {"renameat2", SYS_renameat2},           {"sched_setscheduler", SYS_sched_setscheduler},
    {"statx", SYS_statx},                   {"waitid", SYS_waitid},
};

int main(int count, char **arguments) {
  if (count < 4) return 2;
  int error = strcmp(arguments[1], "EPERM") == 0 ? EPERM : ENOSYS;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (strcmp(calls[i].name, arguments[2]) != 0) continue;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
      perror("refuse: seccomp");
      return 1;
    }
    execvp(arguments[3], arguments + 3);
    perror(arguments[3]);
    return 1;
  }
  fprintf(stderr, "refuse: no such call: %s\n", arguments[2]);
  return 2;
}
