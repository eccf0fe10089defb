// What the demo starts, and how each of it must end.

export const SESSION = 'demo'
export const LIMIT = 10 * 1024 * 1024

/** Nothing of the demo runs for longer, even when the demo itself is killed where it cannot clear away. */
const timeoutMs = 120_000

/** The project itself is the real input. */
export const WORK = [
  {
    name: 'type check',
    command: 'npx --no-install --loglevel=error tsc --noEmit && echo no type errors',
    options: { timeoutMs },
    status: 'completed',
    exitCode: 0,
  },
  {
    name: 'rust tests',
    command: 'cargo test --quiet -p outlive-protocol --lib',
    options: { timeoutMs },
    status: 'completed',
    exitCode: 0,
  },
  {
    name: 'stack trace',
    command: `node -e 'JSON.parse("{ this is no JSON }")'`,
    options: { timeoutMs },
    status: 'failed',
    exitCode: 1,
  },
  {
    name: 'server &',
    command: `node -e 'require("node:http").createServer().listen(0, "127.0.0.1", () => console.log("listening"))' & sleep 0.5; echo started`,
    options: { timeoutMs },
    status: 'completed',
    exitCode: 0,
    descendants: 1,
  },
  {
    name: 'ignores TERM',
    command: `trap '' TERM; echo try me; while :; do sleep 1; done`,
    options: { timeoutMs: 3000, graceMs: 500 },
    status: 'timed_out',
    exitCode: 124,
  },
  {
    name: 'yes, 10 MiB',
    command: 'exec yes',
    options: { timeoutMs, maxOutputBytes: LIMIT },
    status: 'killed',
    exitCode: null,
    endless: true,
  },
]
