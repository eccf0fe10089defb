// Why a goal is missed, as far as it has been found; by the title of its rows. The figures are medians of the machine that
// docs/performance.md names, read with `perf` from the scheduler's events and from the clock in the code.
const WAKES =
  'three threads have to be woken one after the other, where `child_process` wakes one: the supervisor (60 µs until its record is written and ' +
  'its bell rung), the thread of the addon (80 µs until it has read the record and the end of the output), the event loop (30 µs). ' +
  'That the record is on disk before anybody is told is what the others lack.'

const COLLECTOR =
  'The p99 is JavaScript’s garbage collector, which takes up to 5 ms for what the other peers leave behind: with `child_process` alone beside it, ' +
  'it is 0.6 to 0.8 ms.'

const BLOCKED =
  'called again and again it costs 6 µs. Between other work its code is cold, and then 15 µs go into marking the line that called, 20 µs into ' +
  'checking the options and writing them as JSON, and 25 µs into the addon, where the environment is copied and a thread is woken.'

const STARTED =
  'the program in C, which does nothing but start `sh`, needs two thirds of what `child_process` needs: more than the goal. Of ours, 0.25 ms go ' +
  'into the task’s directory and its eight files, 0.13 ms into the start of the supervisor, 0.2 ms into what it does until the shell is executed.'

const SIZE =
  'this is a build with the standard library as it comes. The release build leaves out its backtraces, and has 1202 KB: about 150 KB each are ' +
  'the standard library and the unwinder’s tables, 90 KB napi, 27 KB the supervisor, 40 KB serde_json. Optimised for size it would have 65 KB less, ' +
  'and read a status a third slower.'

export const REASONS = {
  'JavaScript blocked per spawn': BLOCKED,
  'JavaScript blocked per spawn, 1 GB heap': `${BLOCKED} A heap of 1 GB makes them colder; nothing in it grows with the heap.`,
  'call → running': STARTED,
  'call → running, 1 GB heap': STARTED,
  'exit → callback': `${WAKES} ${COLLECTOR}`,
  'exit → callback, 1 GB heap': `${WAKES} On this machine \`child_process\` does not become slower here with a large heap.`,
  'call → callback': 'the sum of the two above; the program in C is just above the goal.',
  '`true`, from the call to the callback':
    'the program in C starts one process and keeps no record; the supervisor is a second one.',
  '2000 short tasks, 32 at a time':
    'each task is two processes, nine files and a sync, where the program in C has one process. 3.5 × `child_process` is more than that ' +
    'program reaches here. Of the processors’ time `sh` itself takes 48 %, the supervisors 20 %, the addon’s thread 19 %, JavaScript 6 %. ' +
    'Without the sync it would be a fifth more.',
  'longest stall meanwhile': '32 commands share two processors with the event loop.',
  'kill → callback of `sleep`': `the order goes through a FIFO to the supervisor; then ${WAKES}`,
  'size of the addon, supervisor included': SIZE,
}
