// Why a goal is missed, as far as it has been found; by the title of its rows. The figures are medians of the machine that
// docs/performance.md names, read with `perf` from the scheduler's events and from the clock in the code.
const WAKES =
  'three threads have to be woken one after the other, where `child_process` wakes one, and each wake-up of a processor that sleeps costs some 30 µs: ' +
  'the supervisor (60 µs until its record is written and its bell rung), the thread of the addon (80 µs until it has read the record and the end of ' +
  'the output), the event loop (70 µs until the callback, half of them for the note that it is called). That the record is on disk before anybody is told ' +
  'is what the others lack.'

const COLLECTOR =
  'The p99 is JavaScript’s garbage collector, which takes up to 5 ms for what the other peers leave behind: with `child_process` alone beside it, ' +
  'it is 0.6 to 0.8 ms.'

const BLOCKED =
  'called in a row it costs 10 µs. Between other work its code is cold, and then 20 to 40 µs go into checking the options and writing them as JSON, ' +
  '25 to 50 µs into the addon, where the environment is copied and a thread is woken, and the rest into promises.'

const STARTED =
  'the program in C, which does nothing but start `sh`, needs 0.4 of what `child_process` needs on this machine, and 0.64 on another one. Of ours, 0.3 ms go ' +
  'into the task’s directory and its eight files, 0.15 ms into the start of the supervisor, 0.2 ms into what it does until the shell is executed.'

const SLOWER = 'On the other machine of [measured.md](why/measured.md), where a system call takes half as long, it is '

const SIZE =
  'this is a build with the standard library as it comes. The release build leaves out its backtraces, and has about 1390 KB: some 150 KB each are ' +
  'the standard library and the unwinder’s tables, 90 KB napi, 30 KB the supervisor, 40 KB serde_json. Optimised for size it would have 40 KB less, ' +
  'and read a status a third slower.'

export const REASONS = {
  'JavaScript blocked per spawn': BLOCKED,
  'JavaScript blocked per spawn, 1 GB heap': `${BLOCKED} A heap of 1 GB makes them colder; nothing in it grows with the heap.`,
  'call → running': STARTED,
  'call → running, 1 GB heap': STARTED,
  'exit → callback': `${WAKES} ${COLLECTOR}`,
  'exit → callback, 1 GB heap': `${WAKES} On this machine \`child_process\` does not become slower here with a large heap.`,
  'call → callback': 'the sum of the two above.',
  '`true`, from the call to the callback':
    'the program in C starts one process and keeps no record; the supervisor is a second one.',
  '2000 short tasks, 32 at a time':
    'each task is two processes, ten files and a sync, where the program in C has one process. Without the sync it would be a fifth more.',
  'longest stall meanwhile': '32 commands share two processors with the event loop; from run to run it is 4 to 22 ms.',
  'memory of a task in the host, beyond 500 others':
    'from run to run it is between 2 and 6 KB: when JavaScript’s collector has its turn decides.',
  'status of a log of 1 GB, 1 KB shown': `the size of the log makes no difference: some files are opened, measured and read. ${SLOWER}13 µs.`,
  'replay of 10000 finished tasks, warm': `each task is some ten calls; all processors read, of which there are two here. ${SLOWER}139 ms, on one processor.`,
  "require('outlive')":
    'finding the addon that fits and mapping it takes a quarter of it, and the rest is ten small files.',
  'kill → callback of `sleep`': `the order goes through a FIFO to the supervisor; then ${WAKES}`,
  'size of the addon, supervisor included': SIZE,
}
