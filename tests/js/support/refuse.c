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
  // Only where this argument, counted from 1, has this value; 0: always.
  unsigned argument;
  unsigned value;
} calls[] = {
    {"F_NOTIFY", SYS_fcntl, 2, 1026},
    {"PR_SET_CHILD_SUBREAPER", SYS_prctl, 1, PR_SET_CHILD_SUBREAPER},
    {"PR_SET_PDEATHSIG", SYS_prctl, 1, PR_SET_PDEATHSIG},
    {"clone", SYS_clone, 0, 0},
    {"clone3", 435, 0, 0},
    {"clock_gettime", SYS_clock_gettime, 0, 0},
    {"close_range", 436, 0, 0},
    {"epoll_pwait2", 441, 0, 0},
    {"execveat", SYS_execveat, 0, 0},
    {"faccessat2", 439, 0, 0},
    {"fallocate", SYS_fallocate, 0, 0},
    {"fdatasync", SYS_fdatasync, 0, 0},
    {"flock", SYS_flock, 0, 0},
    {"getcwd", SYS_getcwd, 0, 0},
    {"getdents64", SYS_getdents64, 0, 0},
    {"getpgid", SYS_getpgid, 0, 0},
    {"kill", SYS_kill, 0, 0},
    {"linkat", SYS_linkat, 0, 0},
    {"memfd_create", SYS_memfd_create, 0, 0},
    {"openat2", 437, 0, 0},
    {"pidfd_open", 434, 0, 0},
    {"pidfd_send_signal", 424, 0, 0},
    {"ppoll", SYS_ppoll, 0, 0},
    {"preadv2", SYS_preadv2, 0, 0},
    {"prlimit64", SYS_prlimit64, 0, 0},
    {"pwrite64", SYS_pwrite64, 0, 0},
    {"renameat2", SYS_renameat2, 0, 0},
    {"sched_setattr", SYS_sched_setattr, 0, 0},
    {"sched_setscheduler", SYS_sched_setscheduler, 0, 0},
    {"sched_yield", SYS_sched_yield, 0, 0},
    {"signalfd4", SYS_signalfd4, 0, 0},
    {"statx", SYS_statx, 0, 0},
    {"wait4", SYS_wait4, 0, 0},
    {"waitid", SYS_waitid, 0, 0},
};

int main(int count, char **arguments) {
  if (count < 4) return 2;
  int error = strcmp(arguments[1], "EPERM") == 0 ? EPERM : ENOSYS;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (strcmp(calls[i].name, arguments[2]) != 0) continue;
    // The lower half of an argument comes first: x86-64 and arm64 are little-endian.
    size_t looked_at = calls[i].argument ? offsetof(struct seccomp_data, args) + 8 * (calls[i].argument - 1)
                                         : offsetof(struct seccomp_data, nr);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, looked_at),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].argument ? calls[i].value : calls[i].number, 0, 1),
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
