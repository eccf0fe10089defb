// cut DIRECTORY: cuts the power of the file system there, as far as it can tell: what it has not written yet it never will, its
// journal included. What it has written, it finds when it is mounted anew.
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>

// In the kernel's headers since 6.12 as FS_IOC_SHUTDOWN, and in ext4 since long before.
#define SHUTDOWN _IOR('X', 125, unsigned)
#define WITHOUT_ITS_JOURNAL 2u

int main(int count, char **arguments) {
  if (count != 2) return 2;
  int directory = open(arguments[1], O_RDONLY | O_DIRECTORY);
  unsigned how = WITHOUT_ITS_JOURNAL;
  if (directory < 0 || ioctl(directory, SHUTDOWN, &how) != 0) {
    perror(arguments[1]);
    return 1;
  }
  return 0;
}
