'use strict'
// What was typed, checked: a verb, an id where the verb takes one, and options with their defaults filled in.

const { constants } = require('node:os')
const { parseArgs } = require('node:util')
const { kinds } = require('../arguments.js')

const common = {
  store: { type: 'string' },
  session: { type: 'string', multiple: true },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'V' },
}

/** What each verb takes besides the common options. */
const verbs = {
  ls: { options: { status: { type: 'string', multiple: true } } },
  show: { takesId: true, options: {} },
  logs: {
    takesId: true,
    options: {
      follow: { type: 'boolean', short: 'f' },
      lines: { type: 'string', short: 'n' },
      stream: { type: 'string' },
    },
  },
  kill: { takesId: true, options: { signal: { type: 'string', short: 's' }, grace: { type: 'string' } } },
  gc: { options: { 'older-than': { type: 'string' }, 'undelivered-older-than': { type: 'string' } } },
}

const SYNOPSIS = {
  ls: 'outlive ls [--status <status>]...',
  show: 'outlive show <id>',
  logs: 'outlive logs [-f] [-n <lines>] [--stream stdout|stderr] <id>',
  kill: 'outlive kill [-s <signal>] [--grace <duration>] <id>',
  gc: 'outlive gc [--older-than <duration>] [--undelivered-older-than <duration>]',
}

const MEANING = {
  ls: 'Lists the tasks, oldest first. --status (repeatable): running, completed, failed, killed, timed_out, lost, …',
  show: 'Shows one task: how it stands, what it cost, the end of its output.',
  logs: `Prints what a task wrote: its stdout on stdout, its stderr on stderr.
-f, --follow     go on until the task ends, as it writes
-n, --lines <n>  begin with the last n lines of each stream`,
  kill: `Ends a task with all its processes: the signal (default SIGTERM), the grace (default: the task's own), SIGKILL.
A task that has ended is left as it is; processes that outlived it are ended.`,
  gc: `Removes finished tasks with their files; with --session those of "default" and of the sessions named.
--older-than              default 1d: tasks whose completion was taken
--undelivered-older-than  default 7d: tasks whose completion nobody took`,
}

const REST = `Of each command:
  --store <dir>     where tasks live; default $OUTLIVE_DIR, else $XDG_STATE_HOME/outlive, else ~/.local/state/outlive
  --session <name>  look into this session only (repeatable); default: all that the store has
  --json            for scripts: the snapshots of the API; logs: one chunk a line
  -h, --help        this text, or a command's
  -V, --version

<id> is a task id, or as many of its digits, from the first on, as no other task shares, with or without bash-.
<duration>: 500ms, 30s, 15m, 2h, 7d.
Colours: in a terminal, unless NO_COLOR is set.

Exit codes:
  0  done
  1  it could not be done: the store cannot be used, …
  2  misuse: an unknown command or option
  3  no task, or more than one, has this id
  4  logs -f: the task ended, and not as "completed"`

/** The help text, of one verb or of all. */
function usage(verb) {
  if (verb !== undefined) return `${SYNOPSIS[verb]}\n\n${MEANING[verb]}\n\n${REST}`
  const lines = Object.values(SYNOPSIS).map((line) => `  ${line}`)
  return `Looks after background tasks that agents left running.\n\n${lines.join('\n')}\n\n${REST}`
}

function misuse(message) {
  return Object.assign(new Error(`${message} (outlive --help)`), { exit: 'misuse' })
}

/** Reads a command line: `{ verb, id, options }`, where the verb may be `help` or `version`. */
function parse(argv) {
  const { values, positionals } = typed(argv, { ...common, ...everyOption() })
  const [verb, id, ...more] = positionals
  if (values.version) return { verb: 'version' }
  if (values.help || verb === 'help') return { verb: 'help', about: known(verb) ?? known(id) }
  if (verb === undefined) throw misuse(`a command is missing: ${Object.keys(verbs).join(', ')}`)
  if (known(verb) === undefined) throw misuse(`there is no command "${verb}": ${Object.keys(verbs).join(', ')}`)
  const { takesId, options } = verbs[verb]
  typed(argv, { ...common, ...options })
  if (takesId && !id) throw misuse(`the task's id is missing: ${SYNOPSIS[verb]}`)
  const excess = takesId ? more[0] : id
  if (excess !== undefined) throw misuse(`"${excess}" is too much: ${SYNOPSIS[verb]}`)
  return { verb, id, options: checked(values) }
}

function known(verb) {
  return Object.hasOwn(verbs, verb ?? '') ? verb : undefined
}

function everyOption() {
  return Object.assign({}, ...Object.values(verbs).map(({ options }) => options))
}

function typed(args, options) {
  try {
    return parseArgs({ args, options, allowPositionals: true })
  } catch (error) {
    const [, dashed] = /use '(--[\w-]+)=-/.exec(error.message) ?? []
    if (dashed === undefined) throw misuse(error.message.split('. ')[0])
    throw misuse(`the value of ${dashed} is missing; one that begins with a dash is written ${dashed}=-…`)
  }
}

function checked(values) {
  const { stream, lines } = values
  if (values.store === '') throw misuse('--store takes the path of a directory; got ""')
  for (const session of values.session ?? []) kinds.sessionId('--session', session)
  for (const status of values.status ?? []) kinds.status('--status', status)
  if (stream !== undefined && stream !== 'stdout' && stream !== 'stderr') {
    throw misuse(`--stream takes stdout or stderr; got "${stream}"`)
  }
  if (lines !== undefined && !/^\d{1,9}$/.test(lines)) throw misuse(`--lines takes a number; got "${lines}"`)
  return {
    store: values.store,
    sessions: values.session,
    json: values.json ?? false,
    status: values.status,
    follow: values.follow ?? false,
    lines: lines === undefined ? undefined : Number(lines),
    stream,
    signal: values.signal === undefined ? undefined : signalName(values.signal),
    graceMs: duration('--grace', values.grace),
    olderThanMs: duration('--older-than', values['older-than']),
    undeliveredOlderThanMs: duration('--undelivered-older-than', values['undelivered-older-than']),
  }
}

/** As people write signals: `KILL`, `sigkill`, `9`. */
function signalName(written) {
  const { signals } = constants
  const upper = written.toUpperCase()
  const names = [upper, `SIG${upper}`, ...Object.keys(signals).filter((name) => String(signals[name]) === written)]
  const name = names.find((each) => Object.hasOwn(signals, each))
  if (name === undefined) throw misuse(`--signal takes a signal's name or number, such as TERM or 15; got "${written}"`)
  return name
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

function duration(option, text) {
  if (text === undefined) return undefined
  if (text === '0') return 0
  const [, amount, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? []
  const milliseconds = Number(amount) * UNITS[unit]
  if (Number.isSafeInteger(milliseconds)) return milliseconds
  throw misuse(`${option} takes a duration such as 30s, 15m or 2h; got "${text}"`)
}

module.exports = { parse, usage, misuse }
