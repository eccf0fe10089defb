// Times are Unix milliseconds, durations milliseconds, sizes bytes, unless a comment says otherwise.

declare global {
  // As @types/node declares them: the library that has them is not known to TypeScript before 5.2.
  interface SymbolConstructor {
    readonly dispose: unique symbol
  }
  interface Disposable {
    [Symbol.dispose](): void
  }
}

/**
 * What can go wrong, as the stable `code` of the error. How a *task* ends is never an error: that is its
 * {@link TaskSnapshot}.
 *
 * - `INVALID_ARGUMENT`: misuse; the error is a `TypeError` that names the option, what it takes and what it got
 * - `CWD_NOT_FOUND`, `SHELL_NOT_FOUND`: the directory or the shell is missing or cannot be used
 * - `TASK_LIMIT_EXCEEDED`: `maxRunning` tasks run already; the message names those that are known by then
 * - `TASK_NOT_FOUND`: no such task, or another session's
 * - `SPAWN_FAILED`: the system refused a process, a file or memory; the reason is in `cause`
 * - `STORAGE_FAILED`: the storage directory cannot be used; the reason is in `cause`
 * - `SUPERVISOR_UNAVAILABLE`: the supervisor cannot be executed from anywhere that was tried
 * - `KILL_REFUSED`: a task's supervisor is gone, and the system does not let this host signal what it has left
 * - `REGISTRY_CLOSED`: after `detach` or `shutdown`
 * - `UNSUPPORTED_PLATFORM`: there is no addon for this platform; when the package is loaded: the addon is another
 *   release's, as after an upgrade under a running host
 * - `INTERNAL`: a defect of this package
 */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'CWD_NOT_FOUND'
  | 'SHELL_NOT_FOUND'
  | 'TASK_LIMIT_EXCEEDED'
  | 'TASK_NOT_FOUND'
  | 'SPAWN_FAILED'
  | 'STORAGE_FAILED'
  | 'SUPERVISOR_UNAVAILABLE'
  | 'KILL_REFUSED'
  | 'REGISTRY_CLOSED'
  | 'UNSUPPORTED_PLATFORM'
  | 'INTERNAL'

/** Every error of this package. The system's own error, with its own `code` such as `ENOENT`, stands in `cause`. */
export type OutliveError = Error & {
  code: ErrorCode
  // Not by `extends`: the `Error` of TypeScript 4.7 and older has it as an `Error`.
  cause?: unknown
}

/**
 * How a task stands. `completed`: exit code 0. `failed`: another code, a signal nobody here sent, or no start.
 * `killing`: a moment after this registry has asked for its end; others see `running` until it comes. `killed`: `kill`,
 * `shutdown` or the output limit ended it, or whatever ended the task that it was started in. `timed_out`: the deadline did. `lost`: its supervisor vanished, so the outcome is
 * unknown.
 */
export type TaskStatus = 'starting' | 'running' | 'killing' | 'completed' | 'failed' | 'killed' | 'timed_out' | 'lost'

/** The statuses that never change again. */
export type TerminalStatus = Exclude<TaskStatus, 'starting' | 'running' | 'killing'>

/** What ended a task. */
export type TaskCause =
  | 'exit'
  | 'signal'
  | 'kill'
  | 'timeout'
  | 'output_limit'
  | 'spawn_error'
  | 'supervisor_lost'
  | 'reboot'

/** Options of a {@link TaskRegistry}. Here and in every call an option that is `undefined` is as good as left out. */
export interface RegistryOptions {
  /**
   * Where tasks live on disk. Default: `$OUTLIVE_DIR`, else `$XDG_STATE_HOME/outlive`, else `~/.local/state/outlive`.
   * A relative path is taken from `process.cwd()`.
   */
  storageDir?: string | undefined
  /**
   * How many tasks of this registry may run at once, at least 1: those of its attached sessions, whoever started them, as
   * far as it has seen them. Default 8.
   */
  maxRunning?: number | undefined
}

/** Options of `spawn`. */
export interface SpawnOptions {
  /** The owner of the task and of its news: any non-empty string up to 1024 bytes. Default `'default'`. */
  sessionId?: string | undefined
  /** The command's working directory. Default `process.cwd()`, from which a relative path is taken too. */
  cwd?: string | undefined
  /**
   * Over the host's environment; `undefined` removes a variable. Up to 8 MiB together. `ELECTRON_RUN_AS_NODE` is only passed on
   * from here.
   */
  env?: Record<string, string | undefined> | undefined
  /**
   * After how many milliseconds the command is ended as `timed_out`, with all that it has started. What it leaves behind at a
   * natural end has no deadline: `cleanup: 'kill'` ends that, or `kill`. Default 1 800 000 (30 minutes); 0: no deadline.
   */
  timeoutMs?: number | undefined
  /** Milliseconds between SIGTERM and SIGKILL, for timeouts and kills. Default 2000. */
  graceMs?: number | undefined
  /** An absolute path, or a name on the command's PATH, `env` included. Default: bash if that has one, else `/bin/sh`. */
  shell?: string | undefined
  /** `'merge'` keeps both streams in one file, in their true order. Default `'separate'`. */
  stderr?: 'separate' | 'merge' | undefined
  /**
   * Bytes per capture file; both ends are kept and the middle goes, once there is an eighth more, in blocks of 4096: so much
   * may stay. Default 104 857 600 (100 MiB); 0: no limit.
   */
  maxOutputBytes?: number | undefined
  /**
   * What a natural end of the command does to descendants that still run. `'kill'` ends them, with the task's grace; `wait`
   * and the completion do not wait for that, and count them. Default `'keep'`.
   */
  cleanup?: 'keep' | 'kill' | undefined
  /** `false`: the completion is never pushed or drained; `status` and `wait` still tell. Default `true`. */
  notify?: boolean | undefined
  /** For people: comes back in snapshots and completions. Up to 64 KiB, in whole characters: half an emoji is none. */
  description?: string | undefined
  /**
   * For programs: any value, as `JSON.stringify` writes it, up to 64 KiB and in whole characters; comes back in snapshots and
   * completions.
   */
  metadata?: unknown
}

/** Names the session that a call is about. */
export interface SessionOptions {
  /** Default: every session that this registry has attached, and `'default'`. */
  sessionId?: string | undefined
}

/** Options of `status`. */
export interface StatusOptions extends SessionOptions {
  /** Bytes of output in `outputPreview`, 0 to 1 048 576 (1 MiB). Default 5120. */
  previewBytes?: number | undefined
}

/** Options of `list`. */
export interface ListOptions extends StatusOptions {
  /** Only tasks of this status. */
  status?: TaskStatus | undefined
}

/** Options of `kill`. */
export interface KillOptions extends SessionOptions {
  /** The name of the first signal. Default `'SIGTERM'`. */
  signal?: `SIG${string}` | undefined
  /** Milliseconds until SIGKILL. Default: the task's own `graceMs`. */
  graceMs?: number | undefined
}

/** Options of `wait`. */
export interface WaitOptions extends SessionOptions {
  /** After how many milliseconds `wait` resolves although the task goes on. Default: never. */
  timeoutMs?: number | undefined
  /**
   * Ends the waiting, not the task: the promise rejects with the signal's reason where that is an `AbortError`, as after
   * `abort()`; else with an `AbortError` of code `ABORT_ERR` that has the reason as its `cause`. Go by `name`.
   */
  signal?: AbortSignal | undefined
}

/** Options of `output`. */
export interface OutputOptions extends SessionOptions {
  /** Default `'stdout'`, which is both streams of a merged task. */
  stream?: 'stdout' | 'stderr' | undefined
  /** An absolute byte offset; negative counts from the end. Default 0. */
  from?: number | undefined
  /** How much of the stream to read at most, 1 to 16 777 216 (16 MiB); a character that is longer comes whole. Default 65 536. */
  maxBytes?: number | undefined
  /** End at the end of a line where there is one. Default `false`. */
  wholeLines?: boolean | undefined
}

/** Options of `onCompletion`. */
export interface CompletionOptions extends SessionOptions {
  /**
   * Better given: without it the subscription takes the news of every session that this registry has attached, and of
   * `'default'`, also of tasks that other programs have started there. It is then the registry's only one.
   */
  sessionId?: string | undefined
  /**
   * `'auto'`: delivered when the callback returns, or when the promise that it returns resolves. `'manual'`: delivered
   * by `ack`, given back by `release` and then told again at once. Default `'auto'`.
   */
  ack?: 'auto' | 'manual' | undefined
}

/** Options of `cleanup`. */
export interface CleanupOptions {
  /** Age at which a finished task may go whose completion was taken, or that has none. Default 86 400 000 (a day). */
  olderThanMs?: number | undefined
  /** Age at which a finished task may go although nobody took its completion, if it has the other age too. Default 604 800 000 (a week). */
  undeliveredOlderThanMs?: number | undefined
}

/** Options of `shutdown`. */
export interface ShutdownOptions {
  /** Milliseconds until SIGKILL. Default: each task's own `graceMs`. */
  graceMs?: number | undefined
}

/** A task as it stood when it was asked for. */
export interface TaskSnapshot {
  /** `bash-` and 16 hexadecimal digits. */
  taskId: string
  sessionId: string
  status: TaskStatus
  /** What ended it; `null` until then. */
  cause: TaskCause | null
  /** `null` until it ended, and when a signal ended it, it never ran or is `lost`; 124 when it is `timed_out`. */
  exitCode: number | null
  /** The name of the signal that ended it, such as `'SIGSEGV'`. */
  signal: string | null
  /** What went wrong in words, when `cause` is `spawn_error`, `supervisor_lost` or `reboot`. */
  error: string | null
  command: string
  cwd: string
  description: string | null
  metadata: unknown
  /** Of the shell while it runs. For show, never for signalling. */
  pid: number | null
  startedAt: number
  /** Of a `lost` task the last that was heard of it: its last output, or its start. */
  finishedAt: number | null
  /** So far, or from `startedAt` to the end. */
  durationMs: number
  /** `null`: no deadline. */
  timeoutMs: number | null
  /**
   * The tails of both streams; neither hides the other. As the command wrote them, with colours, cursor moves and `\r`: most tools
   * leave those out with `env: { TERM: 'dumb', NO_COLOR: '1' }`.
   */
  outputPreview: string
  /** There is more than the preview shows. */
  outputTruncated: boolean
  /** The file that the command writes to. What the output limit removed reads as zeros in it; `output` leaves that out. */
  stdoutPath: string
  /** `null` when the streams are merged. */
  stderrPath: string | null
  stdoutBytes: number
  stderrBytes: number
  /** Bytes that the output limit removed. */
  droppedBytes: number
  lastOutputAt: number | null
  /**
   * Live processes of the task besides the shell; also after its end. Of hundreds, those that are counted in 4 ms. Of a task in
   * another container, and where `/proc` is another pid namespace's: none while it runs, then those that were counted at its end.
   */
  descendants: number
  /** After the end. */
  maxRssBytes: number | null
  /** After the end: user and system time. */
  cpuMs: number | null
  /** The news of its end has been told and taken. */
  completionDelivered: boolean
}

/** The news of a task's end. */
export interface Completion {
  type: 'bash_completed'
  taskId: string
  sessionId: string
  status: TerminalStatus
  cause: TaskCause
  exitCode: number | null
  signal: string | null
  error: string | null
  command: string
  description: string | null
  metadata: unknown
  /** The tails of both streams, as the command wrote them: up to 300 bytes when `completed`, 2048 otherwise. */
  outputPreview: string
  outputTruncated: boolean
  startedAt: number
  finishedAt: number
  durationMs: number
  descendants: number
  /**
   * How often a callback was called with it, this time included: 1, and more each time that it is told again. From `drain`
   * and `pending` the number that the next call would have.
   */
  attempt: number
}

/** A range of a task's output. No UTF-8 character is ever cut. */
export interface OutputChunk {
  /** As the command wrote it, with colours, cursor moves and `\r`: see {@link TaskSnapshot.outputPreview}. */
  text: string
  /**
   * The offset at which this page starts: that of `text`, or of what the output limit removed right before it. Less than the `nextOffset` that was
   * asked for where the command has emptied its output since, and has not written as much again: what it has written then begins at 0.
   * Where it has, nobody can tell, and the page goes on in the new text.
   */
  from: number
  /** Where to read on: the `from` of the next call. */
  nextOffset: number
  /** Bytes of this range that the output limit removed. */
  droppedBytes: number
  /** The stream's length, removed bytes included. */
  totalBytes: number
  /** The task has ended and nothing follows. */
  eof: boolean
}

/** What `replay` found. */
export interface ReplayReport {
  running: number
  finished: number
  lost: number
  /** Completions that nobody has taken yet. */
  pending: number
  /**
   * Paths of tasks that are left as they are: their records are torn or of a newer version, others can write to their
   * directory, or the task is another machine's, or runs in the store that this one is a copy of.
   */
  unreadable: string[]
}

/** A subscription to completions. It does not keep the process alive. */
export interface Subscription {
  /** Ends it; twice is fine. Callbacks that are under way still deliver. */
  close(): void
  /** Lets it keep the process alive. */
  ref(): this
  /** Undoes `ref`. */
  unref(): this
  [Symbol.dispose](): void
}

/** Takes a completion. See {@link CompletionOptions.ack} for what its return means. */
export type CompletionCallback = (completion: Completion) => unknown

/**
 * Runs background shell commands that outlive this process, and tells how each one ended.
 * It never keeps the process alive, except while one of its promises is pending or a subscription asked for it.
 */
export class TaskRegistry {
  /**
   * Opens the storage directory, and creates it with mode 0700 where it is missing.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`
   */
  constructor(options?: RegistryOptions)

  /**
   * Starts a command in the background and resolves with its task id once the task is on disk and its supervisor runs.
   * After a rejection nothing has run, nothing of the task is left on disk, and no completion ever comes. The command has stdin at
   * end of file, a session of its own, `OUTLIVE_TASK_ID` in its environment, and may be 8 MiB long.
   * @throws `INVALID_ARGUMENT`, `CWD_NOT_FOUND`, `SHELL_NOT_FOUND`, `TASK_LIMIT_EXCEEDED`, `SPAWN_FAILED`,
   * `STORAGE_FAILED`, `SUPERVISOR_UNAVAILABLE`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  spawn(command: string, options?: SpawnOptions): Promise<string>

  /**
   * Tells how a task stands; `null` for an unknown id or another session's. It changes no task; a session which
   * is named, and is there, gets attached.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  status(taskId: string, options?: StatusOptions): TaskSnapshot | null

  /**
   * Lists tasks in the order of their `spawn` calls, from which `startedAt` may differ by moments. One whose `spawn` is still
   * pending may be missing. It changes no task; a session which is named gets attached.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  list(options?: ListOptions): TaskSnapshot[]

  /**
   * Names every session that the storage directory knows, sorted; also those whose tasks `cleanup` has all removed not long
   * ago. It attaches none of them, and has no side effects. Directories that are damaged, or no session's, are passed over.
   * @throws `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  sessions(): string[]

  /**
   * Ends a task and its whole tree: the signal for everybody who is there, the grace, then SIGKILL for whoever still is.
   * Resolves with the terminal snapshot when the tree is empty and the completion is queued. A finished task comes back as it
   * is; descendants that outlived it are ended. In an `exit` handler, or right before `process.exit` or `detach`, the order still
   * goes out, and the supervisor does the rest; only the answer is lost.
   * @throws `INVALID_ARGUMENT`, `TASK_NOT_FOUND`, `STORAGE_FAILED`, `KILL_REFUSED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  kill(taskId: string, options?: KillOptions): Promise<TaskSnapshot>

  /**
   * Waits for the end of a task and resolves with its snapshot; with the snapshot as it stands when `timeoutMs` passes.
   * A subscription is told of the end all the same.
   * @throws `INVALID_ARGUMENT`, `TASK_NOT_FOUND`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`; an
   * `AbortError` when `signal` is aborted
   */
  wait(taskId: string, options?: WaitOptions): Promise<TaskSnapshot>

  /**
   * Reads a range of what a task wrote. Offsets stay valid while the file grows and while its middle is dropped, not where the command
   * empties it.
   * @throws `INVALID_ARGUMENT`, `TASK_NOT_FOUND`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  output(taskId: string, options?: OutputOptions): OutputChunk

  /**
   * Calls back once per completion: the backlog first, then as tasks end, for each session in the order in which they
   * ended, without waiting for the promise of the call before. The asynchronous context (`AsyncLocalStorage`) is that of this
   * call. A callback that throws or rejects gives the completion back. It is called again after 0.1, 0.2, 0.4 and 0.8 seconds;
   * then the completion is left to `drain`, and to the next registry that subscribes. Each session has at most one
   * subscription in a registry.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  onCompletion(callback: CompletionCallback, options?: CompletionOptions): Subscription

  /**
   * Takes the pending completions and delivers them. Not those that a callback is holding, nor those of a session that another
   * host has a subscription to. A host that is killed in the middle of it has had what it took; who must not lose that takes
   * `pending`, does its work, and then `ack`.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  drain(options?: SessionOptions): Completion[]

  /**
   * Shows the pending completions and leaves them pending. Not those that a callback of this registry is holding.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  pending(options?: SessionOptions): Completion[]

  /**
   * Delivers completions for good, and returns how many of them were not delivered before. Ids of sessions that are not
   * attached count as unknown: after a restart, `replay` first.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  ack(taskIds: readonly string[]): number

  /**
   * Gives completions back that a callback was holding, and returns how many. They are told again at once; under `'auto'` after
   * the pauses of a callback that fails.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  release(taskIds: readonly string[]): number

  /**
   * Attaches a session (default `'default'`) ahead of time: reads its tasks back from disk and says what was found.
   * Any call that names a session attaches it too. Twice is fine; a live task is never replaced. What tasks have left running
   * whose supervisors have vanished is ended.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  replay(sessionId?: string): Promise<ReplayReport>

  /**
   * Removes finished tasks with their files, and resolves with their number. In sessions that are not attached, and that no
   * host listens to, it takes what ended at least 30 days ago, or longer ago where the limits are longer. Never one that runs,
   * has live descendants, or whose completion is undelivered and younger than `undeliveredOlderThanMs`: one of a task whose
   * end was not recorded is as old as the first `cleanup` that saw it. Of what ended since the machine was started, no time
   * counts in which it was suspended; what ended before that, at a date that is still to come, goes by a limit of 0 only.
   * What cannot be removed stays; it rejects when something could not be removed, or looked at, and nothing went.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  cleanup(options?: CleanupOptions): Promise<number>

  /**
   * Closes the registry; its tasks go on, but for those that `kill` or `shutdown` was asked to end before. Promises that are
   * pending reject with `REGISTRY_CLOSED`, and so do later calls. Twice is fine, and so is a platform without an addon. Happens
   * by itself when the process or worker ends. A callback that is at work goes on, and its completion is not told by another
   * host for the next 10 seconds.
   */
  detach(): void

  /**
   * Ends every running task of this registry, in parallel, resolves with their snapshots, then closes the registry. Those
   * are the tasks of its attached sessions that it has seen, also if another host started them. What a command has left
   * running that had ended before goes on: `kill` ends that, or `cleanup: 'kill'`. Until it resolves everything but `spawn`
   * works: callbacks can `ack`, `kill` can hurry a task that ignores its end. After a rejection it can be asked for again.
   * In an `exit` handler, or right before `process.exit` or `detach`, the tasks are still ended, and only the answer is lost.
   * @throws `INVALID_ARGUMENT`, `STORAGE_FAILED`, `REGISTRY_CLOSED`, `UNSUPPORTED_PLATFORM`
   */
  shutdown(options?: ShutdownOptions): Promise<TaskSnapshot[]>

  /** Detaches. */
  [Symbol.dispose](): void
}

/** {@link TaskRegistry.spawn} of the process's default registry, which the first call of any of these functions opens. */
export function spawn(command: string, options?: SpawnOptions): Promise<string>

/** {@link TaskRegistry.status} of the process's default registry, which the first call of any of these functions opens. */
export function status(taskId: string, options?: StatusOptions): TaskSnapshot | null

/** {@link TaskRegistry.list} of the process's default registry, which the first call of any of these functions opens. */
export function list(options?: ListOptions): TaskSnapshot[]

/** {@link TaskRegistry.sessions} of the process's default registry, which the first call of any of these functions opens. */
export function sessions(): string[]

/** {@link TaskRegistry.kill} of the process's default registry, which the first call of any of these functions opens. */
export function kill(taskId: string, options?: KillOptions): Promise<TaskSnapshot>

/** {@link TaskRegistry.wait} of the process's default registry, which the first call of any of these functions opens. */
export function wait(taskId: string, options?: WaitOptions): Promise<TaskSnapshot>

/** {@link TaskRegistry.output} of the process's default registry, which the first call of any of these functions opens. */
export function output(taskId: string, options?: OutputOptions): OutputChunk

/** {@link TaskRegistry.onCompletion} of the process's default registry, which the first call of any of these functions opens. */
export function onCompletion(callback: CompletionCallback, options?: CompletionOptions): Subscription

/** {@link TaskRegistry.drain} of the process's default registry, which the first call of any of these functions opens. */
export function drain(options?: SessionOptions): Completion[]

/** {@link TaskRegistry.pending} of the process's default registry, which the first call of any of these functions opens. */
export function pending(options?: SessionOptions): Completion[]

/** {@link TaskRegistry.ack} of the process's default registry, which the first call of any of these functions opens. */
export function ack(taskIds: readonly string[]): number

/** {@link TaskRegistry.release} of the process's default registry, which the first call of any of these functions opens. */
export function release(taskIds: readonly string[]): number

/** {@link TaskRegistry.replay} of the process's default registry, which the first call of any of these functions opens. */
export function replay(sessionId?: string): Promise<ReplayReport>

/** {@link TaskRegistry.cleanup} of the process's default registry, which the first call of any of these functions opens. */
export function cleanup(options?: CleanupOptions): Promise<number>

/** {@link TaskRegistry.detach} of the process's default registry, for good. One that nobody has used is not opened for that. */
export function detach(): void

/** {@link TaskRegistry.shutdown} of the process's default registry, for good. */
export function shutdown(options?: ShutdownOptions): Promise<TaskSnapshot[]>
